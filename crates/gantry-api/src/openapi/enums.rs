//! Which fields can have only a few values. `enums.txt` is what `xtask enums` makes, where its form is described.

use std::collections::HashMap;
use std::sync::LazyLock;

use gantry_json::Value;

/// The fields of each definition with their values.
static ALL: LazyLock<HashMap<&str, &str>> =
    LazyLock::new(|| include_str!("enums.txt").lines().filter_map(|line| line.split_once(' ')).collect());

/// The values of a field of the definition, in order.
fn values(definition: &str, field: &str) -> Option<Vec<String>> {
    let mut fields = ALL.get(definition)?.split(' ').filter_map(|each| each.split_once('='));
    let (_, values) = fields.find(|(name, _)| *name == field)?;
    Some(values.split(',').map(|value| value.replace('_', " ")).collect())
}

/// Adds the values of a field to what the document says of it.
pub(super) fn add(out: &mut Value, definition: &str, field: &str) {
    let Some(values) = values(definition, field) else { return };
    let mut text = out;
    while let Some(part) = ["items", "additionalProperties"].into_iter().find(|part| text.get(part).is_some())
    {
        text = &mut text[part];
    }
    text["enum"] = values.into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schemas;

    #[test]
    fn every_field_is_there() {
        for (definition, fields) in ALL.iter() {
            let known = Schemas::builtin().get(Schemas::builtin().by_name(definition).expect(definition));
            for (field, _) in fields.split(' ').filter_map(|each| each.split_once('=')) {
                assert!(known.field(field).is_some(), "{definition}.{field}");
            }
        }
    }

    #[test]
    fn values_may_have_spaces_or_be_empty() {
        let usages = values("io.k8s.api.certificates.v1.CertificateSigningRequestSpec", "usages").unwrap();
        assert!(usages.contains(&"client auth".to_owned()));
        let types = values("io.k8s.api.core.v1.HostPathVolumeSource", "type").unwrap();
        assert_eq!(types[..2], ["", "BlockDevice"]);
        assert_eq!(values("io.k8s.api.core.v1.HostPathVolumeSource", "path"), None);
    }
}
