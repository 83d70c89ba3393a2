//! What the header parser found, in the words of the database.

use std::fs::File;
use std::path::PathBuf;

use sf_images::header::{Inspection, Rules, inspect};
use sf_protos::blobs::ImageFacts;
use sf_protos::privexec::ImageFormat;

use crate::error::{WorkError, blocking};

/// Inspects a file that is not served yet.
pub(crate) async fn look_at(path: PathBuf, rules: Rules) -> Result<Inspection, WorkError> {
    blocking(move || {
        let unreadable =
            |error: std::io::Error| WorkError::Failed(format!("cannot inspect {}: {error}", path.display()));
        let file = File::open(&path).map_err(unreadable)?;
        inspect(&file, &rules).map_err(unreadable)
    })
    .await
}

/// The facts as stored.
pub(crate) fn to_wire(found: &Inspection) -> ImageFacts {
    let info: serde_json::Map<String, serde_json::Value> =
        found.details.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
    ImageFacts {
        format: Some(found.format.as_str().to_owned()),
        mime_type: Some(found.format.mime_type().to_owned()),
        virtual_size: found.virtual_size,
        cluster_size: found.cluster_size,
        info_json: (!info.is_empty()).then(|| serde_json::Value::Object(info).to_string()),
        safety: if found.refusal().is_some() { "unsafe" } else { "safe" }.to_owned(),
        safety_reason: found.refusal().map(|refusal| refusal.text.clone()),
    }
}

/// The image tool's name of a recorded format; `None` for formats it is never given.
pub(crate) fn tool_format(recorded: &str) -> Option<ImageFormat> {
    Some(match recorded {
        "raw" => ImageFormat::Raw,
        "qcow2" => ImageFormat::Qcow2,
        "vmdk" => ImageFormat::Vmdk,
        "vhd" => ImageFormat::Vpc,
        "vhdx" => ImageFormat::Vhdx,
        "vdi" => ImageFormat::Vdi,
        "qed" => ImageFormat::Qed,
        "parallels" => ImageFormat::Parallels,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { max_virtual_size: 1 << 40, parent: None };

    #[test]
    fn a_refusal_is_stored_with_its_sentence() {
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x04");
        let unsafe_facts = to_wire(&inspect(&header.as_slice(), &RULES).unwrap());
        assert_eq!(unsafe_facts.safety, "unsafe");
        assert!(unsafe_facts.safety_reason.unwrap().contains("version"));
        let raw = to_wire(&inspect(&&b"abc"[..], &RULES).unwrap());
        assert_eq!(
            (raw.safety.as_str(), raw.format.as_deref(), raw.virtual_size),
            ("safe", Some("raw"), Some(3))
        );
        assert_eq!(raw.info_json, None);
    }

    #[test]
    fn only_disks_have_a_tool_format() {
        for (name, known) in
            [("raw", true), ("vhd", true), ("iso", false), ("tar", false), ("gzip", false), ("", false)]
        {
            assert_eq!(tool_format(name).is_some(), known, "{name}");
        }
    }
}
