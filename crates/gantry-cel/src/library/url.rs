//! URLs, read as requests carry them: absolute, or a path from the root.

use std::sync::Arc;

use super::{Implementation, no_overload};
use crate::error::EvaluationError;
use crate::value::{Entries, Value};

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "url" => |args| match args {
            [Value::String(text)] => {
                let url = Url::parse(text.as_str()).map_err(|why| {
                    let text = text.as_str();
                    EvaluationError::failed(format!(
                        "URL parse error during conversion from string: parse {text:?}: {why}"
                    ))
                })?;
                Ok(Value::Url(Arc::new(url)))
            }
            _ => no_overload(),
        },
        "isURL" => |args| match args {
            [Value::String(text)] => Ok(Value::Bool(Url::parse(text.as_str()).is_ok())),
            _ => no_overload(),
        },
        "getScheme" => |args| part(args, |url| url.scheme.clone()),
        "getHost" => |args| part(args, |url| url.host.clone()),
        "getHostname" => |args| part(args, |url| url.hostname().to_owned()),
        "getPort" => |args| part(args, |url| url.port().to_owned()),
        "getEscapedPath" => |args| part(args, |url| escaped(&url.path)),
        "getQuery" => query,
        _ => return None,
    })
}

fn part<'a>(args: &[Value<'a>], part: fn(&Url) -> String) -> Result<Value<'a>, EvaluationError> {
    match args {
        [Value::Url(url)] => Ok(Value::from(part(url))),
        _ => no_overload(),
    }
}

fn query<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvaluationError> {
    let [Value::Url(url)] = args else { return no_overload() };
    let mut names: Vec<(String, Vec<Value<'a>>)> = Vec::new();
    for pair in url.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (unescaped(name, true), unescaped(value, true)) else { continue };
        match names.iter_mut().find(|known| known.0 == name) {
            Some(known) => known.1.push(Value::from(value)),
            None => names.push((name, vec![Value::from(value)])),
        }
    }
    let mut entries = Entries::default();
    for (name, values) in names {
        entries.insert(Value::from(name), Value::List(Arc::new(values)))?;
    }
    Ok(Value::Map(Arc::new(entries)))
}

/// The bytes that percent signs stand for, as text.
fn unescaped(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                (high * 16 + low) as u8
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn escaped(path: &str) -> String {
    let mut shown = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => shown.push(char::from(byte)),
            byte if b"-_.~$&+,/:;=@%!'()*".contains(&byte) => shown.push(char::from(byte)),
            other => shown.push_str(&format!("%{other:02X}")),
        }
    }
    shown
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty url".into());
        }
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".into());
        }
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') {
            if scheme.is_empty() {
                return Err("invalid URI for request".into());
            }
            // An opaque URL has no parts.
            return Ok(Self { scheme, host: String::new(), path: String::new(), query: query.into() });
        }
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) if !scheme.is_empty() || !rest.starts_with('/') => {
                rest.find('/').map_or((rest, ""), |at| rest.split_at(at))
            }
            _ => ("", rest),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let url = Self { scheme, host: host.into(), path: path.into(), query: query.into() };
        url.check_host()?;
        if unescaped(path, false).is_none() {
            return Err("invalid URL escape".into());
        }
        Ok(url)
    }

    fn check_host(&self) -> Result<(), String> {
        if self.host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '}', '|']) {
            return Err("invalid character in host name".into());
        }
        let after = self.host.rfind(']').map_or(self.host.as_str(), |at| &self.host[at + 1..]);
        if self.host.starts_with('[') && !self.host.contains(']') {
            return Err("missing ']' in host".into());
        }
        if let Some((_, port)) = after.rsplit_once(':')
            && !port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(format!("invalid port \":{port}\" after host"));
        }
        Ok(())
    }

    fn hostname(&self) -> &str {
        if let Some(rest) = self.host.strip_prefix('[') {
            return rest.split_once(']').map_or(rest, |(host, _)| host);
        }
        self.host.split_once(':').map_or(&self.host, |(host, _)| host)
    }

    fn port(&self) -> &str {
        let after = self.host.rfind(']').map_or(self.host.as_str(), |at| &self.host[at + 1..]);
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }
}

fn scheme(text: &str) -> Result<(String, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at > 0 => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            ':' => return Err("missing protocol scheme".into()),
            _ => break,
        }
    }
    Ok((String::new(), text))
}
