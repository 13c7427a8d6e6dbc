//! Addresses and names on networks.

use std::net::IpAddr;
use std::sync::LazyLock;

use regex::Regex;

/// An IP address.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An IP address with the length of its network.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = (1..=3).contains(&length.len()) && length.bytes().all(|byte| byte.is_ascii_digit());
    digits && length.parse::<u32>().is_ok_and(|length| length <= most)
}

/// A hardware address of 6, 8 or 20 bytes.
pub(super) fn is_mac(text: &str) -> bool {
    let groups = |separator: char, width: usize, counts: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        let fine = |part: &&str| part.len() == width && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        counts.contains(&parts.len()) && parts.iter().all(fine)
    };
    groups(':', 2, [6, 8, 20]) || groups('-', 2, [6, 8, 20]) || groups('.', 4, [3, 4, 10])
}

/// A host's name.
pub(super) fn is_hostname(text: &str) -> bool {
    static HOSTNAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let sign = r"[a-zA-Z0-9\p{S}\p{L}]";
        let short = format!(r"{sign}(-?{sign}{{0,62}})?");
        let label = format!(r"{sign}([a-zA-Z0-9\-\p{{S}}\p{{L}}]{{0,61}}{sign})?\.");
        Regex::new(&format!("^({short}|({label})+{sign}(-?{sign}){{1,62}})$")).ok()
    });
    let fits = text.len() <= 255 && text.split('.').all(|label| label.len() <= 63);
    fits && HOSTNAME.as_ref().is_some_and(|hostname| hostname.is_match(text))
}

/// What may stand in a request's first line: a URI with a scheme, or an absolute path.
pub(crate) fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        Some(("", _)) => return false,
        _ => ("", text),
    };
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        return !scheme.is_empty();
    }
    let path = match rest.strip_prefix("//") {
        Some(authority) if !scheme.is_empty() || !rest.starts_with("///") => {
            let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
            if !is_authority(authority) {
                return false;
            }
            path
        }
        _ => rest,
    };
    escapes_are_whole(path)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn is_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let user_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(user_fine) || !escapes_are_whole(user) {
        return false;
    }
    let (host, port) = match host.strip_prefix('[') {
        Some(inside) => match inside.rsplit_once(']') {
            Some((host, port)) => (host, port),
            None => return false,
        },
        None => host.split_at(host.rfind(':').unwrap_or(host.len())),
    };
    let port_fine = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    let odd = |c: char| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '#');
    port_fine && !host.contains(odd) && escapes_are_whole(host)
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|part| part.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())))
}

/// A mail address (RFC 5322), with or without a name before it.
pub(super) fn is_email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    match text.strip_suffix('>') {
        None => is_plain_email(text),
        Some(text) => match text.rsplit_once('<') {
            Some((name, address)) => is_display_name(name) && is_plain_email(address),
            None => false,
        },
    }
}

fn is_plain_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_fine = match local.strip_prefix('"') {
        Some(rest) => is_quoted(rest),
        None => is_dot_atom(local),
    };
    let domain_fine = match domain.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(|inside| {
            let address = inside.strip_prefix("IPv6:").unwrap_or(inside);
            is_address(address)
        }),
        None => is_dot_atom(domain),
    };
    local_fine && domain_fine
}

/// The rest of a quoted text, after its first quote.
fn is_quoted(rest: &str) -> bool {
    let Some(inside) = rest.strip_suffix('"') else { return false };
    let mut escaped = false;
    for c in inside.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return false,
            c if c.is_control() && c != '\t' => return false,
            _ => {}
        }
    }
    !escaped
}

fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.chars().all(is_atom))
}

fn is_display_name(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    match text.strip_prefix('"') {
        Some(rest) => is_quoted(rest),
        None => text.chars().all(|c| is_atom(c) || matches!(c, ' ' | '\t' | '.')),
    }
}
