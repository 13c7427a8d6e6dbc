//! Links in HTML that a backend serves: those to its own root are made to lead through the proxy.

/// The attributes that hold a link, by element.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text, whatever it looks like.
const RAW: [&str; 8] = ["iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"];

/// The longest tag that is looked at; a longer one is passed on as it is.
const LONGEST_TAG: usize = 64 << 10;

/// Where the links of a backend lead.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// The path before the backend's own, without a slash at its end.
    pub prefix: String,
    /// The backend's authority, and the one that the client asked.
    pub hosts: [String; 2],
}

impl Links {
    /// Where `url` leads through the proxy; `None`: it stays.
    pub fn rewrite(&self, url: &str) -> Option<String> {
        let [backend, asked] = &self.hosts;
        let (origin, path) = match url.strip_prefix("//").or_else(|| Some(url.split_once("://")?.1)) {
            None => ("", url),
            Some(rest) => {
                let scheme = url.len() - rest.len();
                let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
                if host != backend && host != asked {
                    return None;
                }
                let path = &rest[host.len()..];
                // What names the server that was asked goes on naming it.
                (if host == asked { &url[..scheme + host.len()] } else { "" }, path)
            }
        };
        if !path.starts_with('/') || (origin.is_empty() && path.starts_with("//")) {
            return None;
        }
        let there = path.strip_prefix(self.prefix.as_str()).is_some();
        let prefix = if there { "" } else { &self.prefix };
        let next = format!("{origin}{prefix}{path}");
        (next != url).then_some(next)
    }
}

/// Rewrites a document that comes in pieces.
#[derive(Debug)]
pub(super) struct Rewriter {
    links: Links,
    /// What has not been passed on yet: the beginning of a tag.
    held: Vec<u8>,
    within: Within,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Text,
    Comment,
    /// The content of an element that has no tags but its own end.
    Raw(&'static str),
}

impl Rewriter {
    pub fn new(links: Links) -> Self {
        Self { links, held: Vec::new(), within: Within::Text }
    }

    /// What can be passed on now that `piece` has come.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::with_capacity(held.len() + 64);
        let mut at = 0;
        while at < held.len() {
            match self.step(&held[at..], &mut out) {
                Some(length) => at += length,
                None => break,
            }
        }
        if held.len() - at > LONGEST_TAG {
            out.extend_from_slice(&held[at..]);
            at = held.len();
        }
        self.held = held[at..].to_vec();
        out
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Passes on the beginning of `rest`; how much of it. `None`: more has to come first.
    fn step(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        match self.within {
            Within::Comment => {
                let end = memchr::memmem::find(rest, b"-->");
                let length = match end {
                    Some(at) => {
                        self.within = Within::Text;
                        at + 3
                    }
                    // The last bytes may be the beginning of the end.
                    None => rest.len().saturating_sub(2),
                };
                out.extend_from_slice(&rest[..length]);
                (length > 0).then_some(length)
            }
            Within::Raw(name) => {
                let (length, ended) = raw_end(rest, name);
                if ended {
                    self.within = Within::Text;
                }
                out.extend_from_slice(&rest[..length]);
                (length > 0 || ended).then_some(length)
            }
            Within::Text => match memchr::memchr(b'<', rest) {
                None => {
                    out.extend_from_slice(rest);
                    Some(rest.len())
                }
                Some(0) => self.markup(rest, out),
                Some(at) => {
                    out.extend_from_slice(&rest[..at]);
                    Some(at)
                }
            },
        }
    }

    /// What begins with a `<`.
    fn markup(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let second = *rest.get(1)?;
        if second == b'!' && rest.len() < 4 {
            return None;
        }
        if rest.starts_with(b"<!--") {
            self.within = Within::Comment;
            out.extend_from_slice(b"<!--");
            return Some(4);
        }
        if !second.is_ascii_alphabetic() {
            out.push(b'<');
            return Some(1);
        }
        let end = tag_end(rest)?;
        let tag = &rest[..end];
        let name_end =
            tag[1..].iter().position(|byte| b" \t\r\n\x0c/>".contains(byte)).unwrap_or(end - 1) + 1;
        let name = String::from_utf8_lossy(&tag[1..name_end]).to_ascii_lowercase();
        match LINKS.iter().find(|(element, _)| *element == name) {
            Some((_, attributes)) => self.tag(tag, name_end, attributes, out),
            None => out.extend_from_slice(tag),
        }
        if let Some(raw) = RAW.iter().find(|raw| **raw == name) {
            self.within = Within::Raw(raw);
        }
        Some(end)
    }

    /// A tag with its links rewritten.
    fn tag(&self, tag: &[u8], name_end: usize, attributes: &[&str], out: &mut Vec<u8>) {
        let mut copied = 0;
        let mut at = name_end;
        while let Some((name, value)) = next_attribute(tag, &mut at) {
            let name = String::from_utf8_lossy(&tag[name]).to_ascii_lowercase();
            if !attributes.contains(&name.as_str()) {
                continue;
            }
            let next = std::str::from_utf8(&tag[value.clone()]).ok().and_then(|url| self.links.rewrite(url));
            if let Some(next) = next {
                out.extend_from_slice(&tag[copied..value.start]);
                out.extend_from_slice(next.as_bytes());
                copied = value.end;
            }
        }
        out.extend_from_slice(&tag[copied..]);
    }
}

/// Where the tag at the beginning ends; `None`: not yet.
fn tag_end(rest: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in rest.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if follows_equals(&rest[..at]) => quote = Some(byte),
            (None, b'>') => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn follows_equals(before: &[u8]) -> bool {
    before.iter().rev().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'=')
}

type Range = std::ops::Range<usize>;

/// The next attribute that has a value, from `at` on.
fn next_attribute(tag: &[u8], at: &mut usize) -> Option<(Range, Range)> {
    let skip = |at: &mut usize, wanted: &dyn Fn(u8) -> bool| {
        while tag.get(*at).is_some_and(|byte| wanted(*byte)) {
            *at += 1;
        }
    };
    loop {
        skip(at, &|byte| byte.is_ascii_whitespace() || byte == b'/');
        let start = *at;
        skip(at, &|byte| !byte.is_ascii_whitespace() && !b"/=>".contains(&byte));
        let name = start..*at;
        skip(at, &|byte| byte.is_ascii_whitespace());
        match tag.get(*at)? {
            b'=' => *at += 1,
            _ if name.is_empty() => return None,
            _ => continue,
        }
        skip(at, &|byte| byte.is_ascii_whitespace());
        let value = match *tag.get(*at)? {
            quote @ (b'"' | b'\'') => {
                *at += 1;
                let start = *at;
                skip(at, &|byte| byte != quote);
                let value = start..*at;
                *at += 1;
                value
            }
            _ => {
                let start = *at;
                skip(at, &|byte| !byte.is_ascii_whitespace() && byte != b'>');
                start..*at
            }
        };
        return Some((name, value));
    }
}

/// How much of `rest` is content of the raw element `name`, and whether its end tag follows.
fn raw_end(rest: &[u8], name: &str) -> (usize, bool) {
    let wanted = name.len() + 2;
    for at in memchr::memchr_iter(b'<', rest) {
        let Some(end) = rest.get(at..at + wanted) else { return (at, false) };
        if end[1] == b'/' && end[2..].eq_ignore_ascii_case(name.as_bytes()) {
            return (at, true);
        }
    }
    (rest.len(), false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links() -> Links {
        Links {
            prefix: "/api/v1/namespaces/a/services/s/proxy".into(),
            hosts: ["10.0.0.1:80".into(), "api.example:6443".into()],
        }
    }

    #[test]
    fn links_to_the_backends_root_lead_through_the_proxy() {
        let check = |url: &str, expect: Option<&str>| {
            assert_eq!(links().rewrite(url).as_deref(), expect, "{url}");
        };
        const PREFIX: &str = "/api/v1/namespaces/a/services/s/proxy";
        check("/x?y=/z", Some(&format!("{PREFIX}/x?y=/z")));
        check("/", Some(&format!("{PREFIX}/")));
        check("x/y", None);
        check("", None);
        check("#top", None);
        check("https://elsewhere.example/x", None);
        check("//elsewhere.example/x", None);
        check("http://10.0.0.1:80/x/", Some(&format!("{PREFIX}/x/")));
        check("https://api.example:6443/x", Some(&format!("https://api.example:6443{PREFIX}/x")));
        check(&format!("{PREFIX}/x"), None);
        check("mailto:a@b.c", None);
    }

    #[test]
    fn a_document() {
        let document = "<!doctype html><html><!-- <a href=\"/no\"> --><a href=\"/x\" title='/y'>/z</a>\
            <IMG alt=\"a > b\" SRC='/i.png'><link href=/l.css rel=x><script src=\"/s.js\">var a='<a href=\"/no\">';\
            </SCRIPT><a href=y>1 < 2</a><form action = \"/f\" ></form><a b=c";
        let expect = document
            .replace("href=\"/x\"", "href=\"/P/x\"")
            .replace("'/i.png'", "'/P/i.png'")
            .replace("=/l.css", "=/P/l.css")
            .replace("\"/s.js\"", "\"/P/s.js\"")
            .replace("\"/f\"", "\"/P/f\"");
        for size in [1, 2, 3, 7, 1000] {
            let mut rewriter = Rewriter::new(Links { prefix: "/P".into(), ..links() });
            let mut out = Vec::new();
            for piece in document.as_bytes().chunks(size) {
                out.extend(rewriter.push(piece));
            }
            out.extend(rewriter.finish());
            assert_eq!(String::from_utf8(out).unwrap(), expect, "in pieces of {size}");
        }
    }

    proptest! {
        #[test]
        fn without_links_nothing_changes(bytes in "[<>!/a-c=\"' -]{0,200}", size in 1usize..20) {
            let mut rewriter = Rewriter::new(links());
            let mut out = Vec::new();
            for piece in bytes.as_bytes().chunks(size) {
                out.extend(rewriter.push(piece));
            }
            out.extend(rewriter.finish());
            prop_assert_eq!(out.len(), bytes.len());
        }
    }
}
