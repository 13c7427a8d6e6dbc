//! Requests that are made once: of their bytes only numbers change from one to the next, so that the
//! generator costs next to nothing.

use anyhow::Result;
use gantry_api::protobuf;
use gantry_json::Value;

/// Digits of every number.
const DIGITS: usize = 6;
/// Stands in paths and bodies for the number of the object that the request is about.
const OBJECT: &[u8; DIGITS] = b"OBJECT";
/// Stands in paths and bodies for the number of the request.
const NUMBER: &[u8; DIGITS] = b"NUMBER";

const JSON: &str = "application/json";

/// A request that is made over and over.
#[derive(Debug, Clone)]
pub struct Call {
    method: &'static str,
    path: String,
    media_type: &'static str,
    accept: &'static str,
    body: Vec<u8>,
    objects: usize,
    template: Template,
}

impl Call {
    /// A GET of `path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path, JSON, Vec::new())
    }

    /// A DELETE of `path`.
    pub fn delete(path: &str) -> Self {
        Self::new("DELETE", path, JSON, Vec::new())
    }

    /// A POST of JSON.
    pub fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", path, JSON, body.to_string())
    }

    /// A POST as clients send it that know the kind's type: protobuf, there and back.
    pub fn typed_post(path: impl Into<String>, body: &Value) -> Result<Self> {
        Ok(Self::new("POST", path, protobuf::MEDIA_TYPE, protobuf::value(body)?).typed())
    }

    /// A PATCH of this media type.
    pub fn patch(path: impl Into<String>, media_type: &'static str, body: &Value) -> Self {
        Self::new("PATCH", path, media_type, body.to_string())
    }

    /// A server-side apply of `body`.
    pub fn apply(path: &str, body: &Value) -> Self {
        Self::patch(format!("{path}?fieldManager=bench"), "application/apply-patch+yaml", body)
    }

    /// The same, answered in protobuf.
    #[must_use]
    pub fn typed(self) -> Self {
        Self { accept: "application/vnd.kubernetes.protobuf,application/json", ..self }.made()
    }

    /// The same on so many objects in turn; otherwise each request is about another one.
    #[must_use]
    pub fn over(self, objects: usize) -> Self {
        Self { objects, ..self }
    }

    fn new(
        method: &'static str,
        path: impl Into<String>,
        media_type: &'static str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let (path, body, template) = (path.into(), body.into(), Template::new(Vec::new()));
        Self { method, path, media_type, accept: JSON, body, objects: usize::MAX, template }.made()
    }

    /// The same with its bytes.
    fn made(mut self) -> Self {
        let Self { method, path, media_type, accept, body, .. } = &self;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media_type}\r\naccept: {accept}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.template = Template::new([head.as_bytes(), body].concat());
        self
    }

    /// Whether answers are asked for in protobuf.
    pub fn is_typed(&self) -> bool {
        self.accept != JSON
    }

    /// The request of this number.
    pub fn request(&self, number: usize) -> Vec<u8> {
        self.template.filled(number % self.objects, number)
    }
}

/// Bytes with places for numbers.
#[derive(Debug, Clone)]
struct Template {
    bytes: Vec<u8>,
    objects: Vec<usize>,
    numbers: Vec<usize>,
}

impl Template {
    fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let places = |of: &[u8; DIGITS]| {
            let found = bytes.windows(DIGITS).enumerate().filter(|(_, window)| window == of);
            found.map(|(at, _)| at).collect()
        };
        Self { objects: places(OBJECT), numbers: places(NUMBER), bytes }
    }

    fn filled(&self, object: usize, number: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (places, value) in [(&self.objects, object), (&self.numbers, number)] {
            for at in places {
                let mut rest = value;
                for digit in bytes[*at..*at + DIGITS].iter_mut().rev() {
                    *digit = b'0' + (rest % 10) as u8;
                    rest /= 10;
                }
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    /// The path and the body.
    fn sent(call: &Call, number: usize) -> (String, Vec<u8>) {
        let request = call.request(number);
        let end = memchr::memmem::find(&request, b"\r\n\r\n").unwrap();
        let (head, body) = (String::from_utf8(request[..end].to_vec()).unwrap(), request[end + 4..].to_vec());
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        (head.split(' ').nth(1).unwrap().to_owned(), body)
    }

    #[test]
    fn numbers_take_their_places() {
        let body = json!({"metadata": {"name": "a-OBJECT"}, "data": {"n": "NUMBER"}});
        let call = Call::patch("/a-OBJECT", "application/json", &body).over(10);
        let expect = json!({"metadata": {"name": "a-000007"}, "data": {"n": "000117"}});
        assert_eq!(sent(&call, 117), ("/a-000007".into(), expect.to_string().into_bytes()));
    }

    #[test]
    fn typed_bodies_keep_their_lengths() {
        let object =
            |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let call = Call::typed_post("/", &object("a-OBJECT")).unwrap();
        assert!(call.is_typed());
        assert_eq!(sent(&call, 42).1, protobuf::value(&object("a-000042")).unwrap());
    }
}
