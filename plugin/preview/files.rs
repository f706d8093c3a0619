//! The objects of files.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hostup_operator::domain::values::ids::SubjectKind;
use serde_json::Value;

use crate::failure::Failure;
use crate::object::KindName;

const GROUP: &str = "vps.hostup.se/";

/// An object of a file.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Kind and name.
    pub id: KindName,
    /// The namespace that the file names; empty if it names none.
    pub namespace: String,
    /// `apiVersion`.
    pub version: String,
    /// `spec`.
    pub spec: Value,
}

/// Every VpsBackupRestore and VpsResourceConfig of the files.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Wanted>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            take(&text, "the standard input", &mut found)?;
            continue;
        }
        for file in files(path)? {
            let name = file.display().to_string();
            let text = fs::read_to_string(&file)
                .map_err(|error| Failure::told(format!("{name} cannot be read: {error}")))?;
            take(&text, &name, &mut found)?;
        }
    }
    Ok(found)
}

/// The file itself, or the files of a folder, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error: io::Error| Failure::told(format!("{} cannot be read: {error}", path.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_manifest = file
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if is_manifest && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn take(text: &str, name: &str, found: &mut Vec<Wanted>) -> Result<(), Failure> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| Failure::told(format!("{name} is not YAML: {error}")))?;
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) if document.get("kind").and_then(Value::as_str) == Some("List") => {
                for item in items {
                    found.extend(wanted(item, name)?);
                }
            }
            Some(_) | None => found.extend(wanted(&document, name)?),
        }
    }
    Ok(())
}

/// An object, if it is one of ours.
fn wanted(document: &Value, file: &str) -> Result<Option<Wanted>, Failure> {
    let text = |path: &str| {
        document
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    let kind = SubjectKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let Some(kind) = kind.filter(|_| version.starts_with(GROUP)) else {
        return Ok(None);
    };
    let name = [text("/metadata/name"), text("/metadata/generateName")]
        .into_iter()
        .find(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| Failure::told(format!("{file}: a {} has no metadata.name", kind.as_str())))?;
    Ok(Some(Wanted {
        id: KindName { kind, name },
        namespace: text("/metadata/namespace"),
        version,
        spec: document.get("spec").cloned().unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_objects_are_taken_also_out_of_a_list() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: List\nitems:\n\
                    - {apiVersion: vps.hostup.se/v1alpha1, kind: VpsBackupRestore, metadata: {name: b, namespace: shop}}\n\
                    - {apiVersion: other/v1, kind: VpsBackupRestore, metadata: {name: c}}\n---\n\
                    {\"apiVersion\": \"vps.hostup.se/v1alpha1\", \"kind\": \"VpsResourceConfig\", \"metadata\": {\"generateName\": \"d-\"}}\n";
        let mut found = Vec::new();
        take(text, "x", &mut found).unwrap();
        let names: Vec<String> = found
            .iter()
            .map(|wanted| format!("{} {}", wanted.id, wanted.namespace))
            .collect();
        assert_eq!(names, ["vbr/b shop", "vrc/d- "]);
    }
}
