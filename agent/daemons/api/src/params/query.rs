//! The query string as parameters.

use percent_encoding::percent_decode;

use super::fault::Fault;

/// The pairs of a query string, decoded, in order.
///
/// # Errors
/// A name or value that is not UTF-8 or contains NUL, or a name that is given twice.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err(Fault::new("given twice in the query").at(&name));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn decode(text: &str) -> Result<String, Fault> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8();
    let decoded = decoded.map_err(|_| Fault::new("the query is not UTF-8"))?;
    if decoded.contains('\0') { Err(Fault::new("the query contains NUL")) } else { Ok(decoded.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_once() {
        let read = pairs("offset=0&name=a%20b+c&empty=&flag&p=%2525").unwrap();
        let expected = [("offset", "0"), ("name", "a b c"), ("empty", ""), ("flag", ""), ("p", "%25")];
        assert_eq!(read, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn nonsense_is_refused() {
        for query in ["a=%ff", "a=%00", "a=1&a=2"] {
            assert!(pairs(query).is_err(), "{query}");
        }
    }
}
