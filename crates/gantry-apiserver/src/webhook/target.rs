//! Where a webhook is: what the `clientConfig` of an object says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_json::Value;

use super::CallError;

/// The port of a Service reference that names none.
const PORT: u16 = 443;

/// A webhook's address, and whom to believe that it is the webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    place: Place,
    /// A PEM bundle; empty: whom this machine trusts.
    ca: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// An address.
    Url(String),
    /// A Service.
    Service { namespace: String, name: String, port: u16, path: String },
}

impl Target {
    /// Reads a `clientConfig`.
    pub fn read(config: &Value) -> Result<Self, CallError> {
        let wrong = |why: &str| CallError::Target(why.to_owned());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ca = match config["caBundle"].as_str() {
            None => String::new(),
            Some(bundle) => {
                let pem = STANDARD.decode(bundle).ok().and_then(|pem| String::from_utf8(pem).ok());
                pem.ok_or_else(|| {
                    wrong("unable to load root certificates: unable to parse bytes as PEM block")
                })?
            }
        };
        let service = &config["service"];
        let place = if service.is_object() {
            let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT);
            Place::Service {
                namespace: text(&service["namespace"]),
                name: text(&service["name"]),
                port,
                path: text(&service["path"]),
            }
        } else {
            match config["url"].as_str() {
                Some(url) => Place::Url(url.to_owned()),
                None => return Err(wrong("webhook configuration must have either service or URL")),
            }
        };
        Ok(Self { place, ca })
    }

    /// The address, without a query. That of a Service names it as its certificate does.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Url(url) => url.clone(),
            Place::Service { namespace, name, port, path } => {
                let slash = if path.starts_with('/') { "" } else { "/" };
                format!("https://{name}.{namespace}.svc:{port}{slash}{path}")
            }
        }
    }

    /// The authorities that its certificate may come from, in PEM; empty: those that this machine trusts.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The host and the port, by which the server finds out how to show itself.
    pub fn authority(&self) -> String {
        let url: Option<http::Uri> = self.url().parse().ok();
        let port = |url: &http::Uri| url.port_u16().unwrap_or(PORT);
        url.and_then(|url| Some(format!("{}:{}", url.host()?, port(&url)))).unwrap_or_default()
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn addresses() {
        let check = |config: Value, expect: Result<&str, &str>| {
            let url = Target::read(&config).map(|target| target.url());
            let url = url.map_err(|error| error.to_string());
            assert_eq!(url, expect.map(str::to_owned).map_err(str::to_owned), "{config}");
        };
        check(json!({"url": "https://a.example/x"}), Ok("https://a.example/x"));
        let service = json!({"service": {"namespace": "n", "name": "s", "path": "/p", "port": 8443}});
        check(service, Ok("https://s.n.svc:8443/p"));
        check(json!({"service": {"namespace": "n", "name": "s"}}), Ok("https://s.n.svc:443/"));
        check(json!({}), Err("webhook configuration must have either service or URL"));
        let why = "unable to load root certificates: unable to parse bytes as PEM block";
        check(json!({"url": "https://a", "caBundle": "?"}), Err(why));
    }
}
