//! Values that image vendors publish beside their files.

use sf_blobs::Algorithm;

/// A published value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// A cryptographic value: must match.
    Proof(Algorithm, String),
    /// An MD5 value: finds damage, proves nothing.
    Md5Hint(String),
}

/// How a list of values is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListFormat {
    /// `<hex>  <name>` lines of 128 digits.
    Sha512sum,
    /// `<hex>  <name>` lines of 64 digits.
    Sha256sum,
    /// `<hex>  <name>` lines of 32 digits.
    Md5sum,
    /// `SHA512 (<name>) = <hex>` lines.
    Bsd,
    /// The value alone; its length tells the function.
    Single,
}

/// The text is not a checksum we understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a checksum is written sha512:<hex> or sha256:<hex>")]
pub struct BadChecksum;

/// Reads the `checksum` of a request: `sha512:<hex>` or `sha256:<hex>`.
///
/// # Errors
/// Anything else.
pub fn parse_request(text: &str) -> Result<(Algorithm, String), BadChecksum> {
    let (name, value) = text.split_once(':').ok_or(BadChecksum)?;
    let algorithm = match name {
        "sha512" => Algorithm::Sha512,
        "sha256" => Algorithm::Sha256,
        _ => return Err(BadChecksum),
    };
    algorithm.normalise(value).map(|value| (algorithm, value)).ok_or(BadChecksum)
}

/// Finds the value of `file` in a published list.
pub fn find_in_list(format: ListFormat, list: &str, file: &str) -> Option<Published> {
    match format {
        ListFormat::Single => by_length(list.split_whitespace().next()?),
        ListFormat::Bsd => list.lines().find_map(|line| {
            let (head, value) = line.split_once('=')?;
            let (_, name) = head.split_once('(')?;
            (name.trim_end().strip_suffix(')')? == file).then(|| by_length(value.trim()))?
        }),
        ListFormat::Sha512sum | ListFormat::Sha256sum | ListFormat::Md5sum => list.lines().find_map(|line| {
            let (value, name) = line.trim().split_once(char::is_whitespace)?;
            // `*` marks binary mode; a leading `./` appears in lists made by find.
            let name = name.trim_start().trim_start_matches('*').trim_start_matches("./");
            (name == file).then(|| by_length(value)).flatten().filter(|found| fits(format, found))
        }),
    }
}

fn fits(format: ListFormat, found: &Published) -> bool {
    match found {
        Published::Proof(Algorithm::Sha512, _) => format == ListFormat::Sha512sum,
        Published::Proof(Algorithm::Sha256, _) => format == ListFormat::Sha256sum,
        Published::Md5Hint(_) => format == ListFormat::Md5sum,
        Published::Proof(..) => false,
    }
}

fn by_length(value: &str) -> Option<Published> {
    let proof = [Algorithm::Sha512, Algorithm::Sha256]
        .into_iter()
        .find_map(|algorithm| algorithm.normalise(value).map(|value| Published::Proof(algorithm, value)));
    proof.or_else(|| {
        let hex = value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| Published::Md5Hint(value.to_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_every_format() {
        let sha512 = "ab".repeat(64);
        let sha256 = "CD".repeat(32);
        let md5 = "0f".repeat(16);
        let proof = |algorithm, value: &str| Some(Published::Proof(algorithm, value.to_ascii_lowercase()));
        let cases = [
            (
                ListFormat::Sha512sum,
                format!("{}  other\n{sha512} *disk.img\n", "00".repeat(64)),
                proof(Algorithm::Sha512, &sha512),
            ),
            (ListFormat::Sha256sum, format!("{sha256}  ./disk.img\n"), proof(Algorithm::Sha256, &sha256)),
            (ListFormat::Sha512sum, format!("{sha256}  disk.img\n"), None),
            (ListFormat::Md5sum, format!("{md5}  disk.img\n"), Some(Published::Md5Hint(md5.clone()))),
            (
                ListFormat::Bsd,
                format!("# x\nSHA512 (disk.img) = {sha512}\n"),
                proof(Algorithm::Sha512, &sha512),
            ),
            (ListFormat::Single, format!("{sha256}\n"), proof(Algorithm::Sha256, &sha256)),
            (ListFormat::Single, "nonsense".to_owned(), None),
            (ListFormat::Bsd, "SHA512 (other) = 00\n".to_owned(), None),
            (ListFormat::Sha256sum, String::new(), None),
        ];
        for (format, list, expected) in cases {
            assert_eq!(find_in_list(format, &list, "disk.img"), expected, "{format:?} {list}");
        }
    }

    #[test]
    fn a_request_names_its_function() {
        assert_eq!(
            parse_request(&format!("sha256:{}", "AA".repeat(32))),
            Ok((Algorithm::Sha256, "aa".repeat(32)))
        );
        for bad in ["", "sha256", "sha256:aa", "md5:aa", &format!("sha512:{}", "aa".repeat(32))] {
            assert_eq!(parse_request(bad), Err(BadChecksum), "{bad}");
        }
    }
}
