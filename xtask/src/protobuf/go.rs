//! The types that a Go program carries for reflection: structs, their fields and tags, read from
//! the program's file (ELF, 64 bits, little-endian, as `internal/abi` of Go 1.24 and 1.25 lays
//! types out).

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};

/// A type's address.
pub type TypeId = u64;

/// What a type is, as far as encodings tell types apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A boolean, number or string.
    Scalar,
    /// A slice.
    Slice,
    /// A map.
    Map,
    /// A struct.
    Struct,
    /// Anything else: pointers, interfaces and so on.
    Other,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    /// All its tags.
    tags: String,
    /// Its type.
    pub kind: TypeId,
}

impl Field {
    /// The tag `name`.
    pub fn tag(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.tags.split_once(&format!("{name}:\""))?;
        rest.split('"').next()
    }
}

/// The types of one program.
pub struct Program {
    bytes: Vec<u8>,
    /// Where the read-only data stands in memory and in the file, and its size.
    data: Section,
    structs: HashMap<TypeId, Vec<Field>>,
    by_name: HashMap<String, TypeId>,
    /// The names of slice types.
    slices: HashMap<TypeId, String>,
    /// The names of types of text.
    texts: HashMap<TypeId, String>,
}

#[derive(Debug, Clone, Copy)]
struct Section {
    address: u64,
    offset: u64,
    size: u64,
}

// Kinds of Go types, and the flags of a type.
const ARRAY: u8 = 17;
const MAP: u8 = 21;
const POINTER: u8 = 22;
const SLICE: u8 = 23;
const STRING: u8 = 24;
const STRUCT: u8 = 25;
const UNCOMMON: u8 = 1;
const NAMED: u8 = 4;

impl Program {
    /// Reads every type that can be reached from the program's list of types.
    pub fn read(bytes: Vec<u8>) -> Result<Self> {
        ensure!(bytes.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
        let links = section(&bytes, ".typelink").context("no types")?;
        let data = section(&bytes, ".rodata").context("no read-only data")?;
        let mut program = Self {
            bytes,
            data,
            structs: HashMap::new(),
            by_name: HashMap::new(),
            slices: HashMap::new(),
            texts: HashMap::new(),
        };
        let mut waiting = Vec::new();
        for at in (0..links.size).step_by(4) {
            let offset = number::<4>(&program.bytes, links.offset + at)?;
            waiting.push(data.address + offset);
        }
        let mut seen = HashSet::new();
        while let Some(kind) = waiting.pop() {
            if seen.insert(kind) {
                program.visit(kind, &mut waiting)?;
            }
        }
        Ok(program)
    }

    /// The fields of the struct `name`, such as `k8s.io/api/core/v1.Pod`.
    pub fn named(&self, name: &str) -> Option<&[Field]> {
        self.fields(*self.by_name.get(name)?)
    }

    /// The fields of a struct.
    pub fn fields(&self, kind: TypeId) -> Option<&[Field]> {
        self.structs.get(&kind).map(Vec::as_slice)
    }

    /// The name of a slice type that has one.
    pub fn name(&self, kind: TypeId) -> Option<&str> {
        self.slices.get(&kind).map(String::as_str)
    }

    /// The name of the type of text that a type is, points to or has many of.
    pub fn text_name(&self, kind: TypeId) -> Option<&str> {
        match self.kind_byte(kind).ok()? {
            POINTER | SLICE => self.text_name(self.word(kind + 48).ok()?),
            MAP => self.text_name(self.word(kind + 56).ok()?),
            _ => self.texts.get(&kind).map(String::as_str),
        }
    }

    /// What a type is.
    pub fn kind(&self, kind: TypeId) -> Kind {
        match self.kind_byte(kind).unwrap_or(0) {
            1..=14 | STRING => Kind::Scalar,
            SLICE => Kind::Slice,
            MAP => Kind::Map,
            STRUCT => Kind::Struct,
            _ => Kind::Other,
        }
    }

    fn visit(&mut self, kind: TypeId, waiting: &mut Vec<TypeId>) -> Result<()> {
        match self.kind_byte(kind)? {
            POINTER | ARRAY => waiting.push(self.word(kind + 48)?),
            SLICE => {
                waiting.push(self.word(kind + 48)?);
                if let Some(name) = self.full_name(kind, 56)? {
                    self.slices.insert(kind, name);
                }
            }
            STRING => {
                if let Some(name) = self.full_name(kind, 48)? {
                    self.texts.insert(kind, name);
                }
            }
            MAP => waiting.extend([self.word(kind + 48)?, self.word(kind + 56)?]),
            STRUCT => {
                let (first, count) = (self.word(kind + 56)?, self.word(kind + 64)?);
                let mut fields = Vec::new();
                for at in 0..count {
                    let field = first + 24 * at;
                    let (_, tags) = self.text_of(self.word(field)?)?;
                    let kind = self.word(field + 8)?;
                    waiting.push(kind);
                    fields.push(Field { tags, kind });
                }
                self.structs.insert(kind, fields);
                if let Some(name) = self.full_name(kind, 80)? {
                    self.by_name.insert(name, kind);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The package and name of a type that has them; `size` is that of what describes its kind.
    fn full_name(&self, kind: TypeId, size: u64) -> Result<Option<String>> {
        let flags = self.byte(kind + 20)?;
        if flags & (NAMED | UNCOMMON) != NAMED | UNCOMMON {
            return Ok(None);
        }
        let (name, _) = self.text_of(self.data.address + self.half(kind + 40)?)?;
        let (package, _) = self.text_of(self.data.address + self.half(kind + size)?)?;
        Ok(Some(format!("{package}.{}", name.rsplit('.').next().unwrap_or_default())))
    }

    fn kind_byte(&self, kind: TypeId) -> Result<u8> {
        Ok(self.byte(kind + 23)? & 31)
    }

    fn offset(&self, address: u64) -> Result<u64> {
        let within = address.checked_sub(self.data.address).filter(|within| *within < self.data.size);
        Ok(self.data.offset + within.with_context(|| format!("{address:#x} is not read-only data"))?)
    }

    fn word(&self, address: u64) -> Result<u64> {
        number::<8>(&self.bytes, self.offset(address)?)
    }

    fn half(&self, address: u64) -> Result<u64> {
        number::<4>(&self.bytes, self.offset(address)?)
    }

    fn byte(&self, address: u64) -> Result<u8> {
        Ok(number::<1>(&self.bytes, self.offset(address)?)? as u8)
    }

    /// A name and its tag.
    fn text_of(&self, address: u64) -> Result<(String, String)> {
        let flags = self.byte(address)?;
        let (name, next) = self.text(address + 1)?;
        let tag = if flags & 2 != 0 { self.text(next)?.0 } else { String::new() };
        Ok((name, tag))
    }

    fn text(&self, mut address: u64) -> Result<(String, u64)> {
        let (mut length, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte(address)?;
            address += 1;
            length |= u64::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
            ensure!(shift < 32, "a name without end");
        }
        let start = self.offset(address)? as usize;
        let bytes = self.bytes.get(start..start + length as usize).context("a name past the end")?;
        Ok((String::from_utf8_lossy(bytes).into_owned(), address + length))
    }
}

/// The little-endian number of `N` bytes at `offset`.
fn number<const N: usize>(bytes: &[u8], offset: u64) -> Result<u64> {
    let start = offset as usize;
    let bytes = bytes.get(start..start + N).context("past the end of the file")?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn section(bytes: &[u8], name: &str) -> Option<Section> {
    let table = number::<8>(bytes, 0x28).ok()?;
    let header = |at: u64| table + 64 * at;
    let names = number::<8>(bytes, header(number::<2>(bytes, 0x3e).ok()?) + 24).ok()?;
    (0..number::<2>(bytes, 0x3c).ok()?).find_map(|at| {
        let start = (names + number::<4>(bytes, header(at)).ok()?) as usize;
        let found = bytes.get(start..start + name.len() + 1)?;
        if found.strip_suffix(b"\0") != Some(name.as_bytes()) {
            return None;
        }
        let field = |offset| number::<8>(bytes, header(at) + offset).ok();
        Some(Section { address: field(16)?, offset: field(24)?, size: field(32)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let tags = r#"json:"replicas,omitempty" protobuf:"varint,1,opt,name=replicas""#.to_owned();
        let field = Field { tags, kind: 0 };
        assert_eq!(field.tag("json"), Some("replicas,omitempty"));
        assert_eq!(field.tag("protobuf"), Some("varint,1,opt,name=replicas"));
        assert_eq!(field.tag("patchStrategy"), None);
    }

    #[test]
    fn what_is_no_program() {
        assert!(Program::read(b"#!/bin/sh".to_vec()).is_err());
        assert!(Program::read(b"\x7fELF\x02\x01".to_vec()).is_err());
    }
}
