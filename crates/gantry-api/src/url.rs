//! Web addresses as upstream reads them: leniently, and in its words where that fails.

/// The parts of a web address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Url<'a> {
    /// The scheme in lower case, or nothing.
    pub scheme: String,
    /// Who asks, as it was written before the `@`.
    pub user: Option<&'a str>,
    /// The host, with its port.
    pub host: &'a str,
    /// What follows the host.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: &'a str,
    /// What follows the `#`.
    pub fragment: &'a str,
}

impl<'a> Url<'a> {
    /// Reads an address; the error says what is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self { scheme, query, fragment, path: rest, ..Self::default() };
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                // What it says is its scheme's own affair.
                url.path = "";
                return Ok(url);
            }
            if rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        let hosted = !url.scheme.is_empty() || !rest.starts_with("///");
        if let Some(rest) = rest.strip_prefix("//").filter(|_| hosted) {
            let end = rest.find('/').unwrap_or(rest.len());
            let authority = &rest[..end];
            url.path = &rest[end..];
            (url.user, url.host) = match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user), host),
                None => (None, authority),
            };
            check_host(url.host)?;
            if url.user.is_some_and(|user| !user.chars().all(is_user)) {
                return Err("net/url: invalid userinfo".to_owned());
            }
            url.user.map_or(Ok(()), escapes)?;
        }
        escapes(url.path)?;
        escapes(url.fragment)?;
        Ok(url)
    }
}

fn scheme(text: &str) -> Result<(String, &str), String> {
    let end = text.bytes().enumerate().find(|(at, byte)| match byte {
        b'0'..=b'9' | b'+' | b'-' | b'.' => *at == 0,
        byte => !byte.is_ascii_alphabetic(),
    });
    match end {
        Some((0, b':')) => Err("missing protocol scheme".to_owned()),
        Some((at, b':')) => Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
        _ => Ok((String::new(), text)),
    }
}

fn is_user(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c)
}

fn check_host(host: &str) -> Result<(), String> {
    let after = match host.starts_with('[') {
        true => &host[host.rfind(']').ok_or("missing ']' in host")? + 1..],
        false => host.rfind(':').map_or("", |at| &host[at..]),
    };
    if !after.is_empty()
        && !after.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(format!("invalid port {after:?} after host"));
    }
    escapes(host)?;
    let fine =
        |c: &char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(*c);
    match host.chars().find(|c| !fine(c)) {
        Some(bad) => Err(format!("invalid character {:?} in host name", bad.to_string())),
        None => Ok(()),
    }
}

/// Checks that two digits follow each percent sign.
fn escapes(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('%') {
        let shown: String = text[at..].chars().take(3).collect();
        if shown.len() != 3 || !shown[1..].bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("invalid URL escape {shown:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let url = Url::parse("HTTPS://u:p@a.b:80/c?d#e").expect("it is one");
        let expected = Url {
            scheme: "https".into(),
            user: Some("u:p"),
            host: "a.b:80",
            path: "/c",
            query: "d",
            fragment: "e",
        };
        assert_eq!(url, expected);
        for (text, scheme, host, path) in [
            ("https:///a", "https", "", "/a"),
            ("a/b", "", "", "a/b"),
            ("mailto:a@b", "mailto", "", ""),
            ("//a", "", "a", ""),
            ("https://[::1]:80", "https", "[::1]:80", ""),
            ("", "", "", ""),
            ("wrong url", "", "", "wrong url"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((&*url.scheme, url.host, url.path), (scheme, host, path), "{text}");
        }
    }

    #[test]
    fn faults() {
        for (text, expected) in [
            ("a b:80/c", "first path segment in URL cannot contain colon"),
            (":a", "missing protocol scheme"),
            ("https://a b", "invalid character \" \" in host name"),
            ("https://[::1", "missing ']' in host"),
            ("https://a:b", "invalid port \":b\" after host"),
            ("https://a/%zz", "invalid URL escape \"%zz\""),
            ("https://a/%", "invalid URL escape \"%\""),
            ("https://a\u{7f}", "net/url: invalid control character in URL"),
            ("https://a b@c", "net/url: invalid userinfo"),
        ] {
            assert_eq!(Url::parse(text), Err(expected.to_owned()), "{text}");
        }
    }
}
