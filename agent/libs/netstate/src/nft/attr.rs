//! Netlink attributes of the netfilter interfaces: integers are big-endian.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};

/// Plain bytes.
pub fn bytes(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, value.to_vec())
}

/// One byte.
pub fn u8_(kind: u16, value: u8) -> DefaultNla {
    bytes(kind, &[value])
}

/// Four bytes.
pub fn u32_(kind: u16, value: u32) -> DefaultNla {
    bytes(kind, &value.to_be_bytes())
}

/// Eight bytes.
pub fn u64_(kind: u16, value: u64) -> DefaultNla {
    bytes(kind, &value.to_be_bytes())
}

/// A text with its terminating zero.
pub fn text(kind: u16, value: &str) -> DefaultNla {
    let mut data = value.as_bytes().to_vec();
    data.push(0);
    DefaultNla::new(kind, data)
}

/// Attributes inside an attribute.
pub fn nested(kind: u16, attrs: Vec<DefaultNla>) -> DefaultNla {
    let mut data = vec![0; attrs.as_slice().buffer_len()];
    attrs.as_slice().emit(&mut data);
    DefaultNla::new(kind | NLA_F_NESTED, data)
}

/// A comment as the `nft` tool stores and shows it: type 0, length, text, zero. Texts are cut to 128 bytes.
pub fn comment(kind: u16, value: &str) -> DefaultNla {
    let text: Vec<u8> = value.bytes().take(128).collect();
    let mut data = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    data.extend(text);
    data.push(0);
    DefaultNla::new(kind, data)
}

/// Reads a comment back; `None` when the bytes are something else.
pub fn parse_comment(data: &[u8]) -> Option<String> {
    let (head, rest) = data.split_at_checked(2)?;
    let length = match head {
        [0, length] => usize::from(*length),
        _ => return None,
    };
    let text = rest.get(..length.checked_sub(1)?)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Nla;

    use super::*;

    #[test]
    fn golden_bytes() {
        let nla = nested(4, vec![u32_(1, 0x01020304), text(2, "ab")]);
        let mut data = vec![0; nla.buffer_len()];
        nla.emit(&mut data);
        assert_eq!(data, [20, 0, 4, 0x80, 8, 0, 1, 0, 1, 2, 3, 4, 7, 0, 2, 0, b'a', b'b', 0, 0]);
    }

    #[test]
    fn comments_round_trip() {
        let nla = comment(7, "forward:1234");
        let mut data = vec![0; nla.value_len()];
        nla.emit_value(&mut data);
        assert_eq!(parse_comment(&data).as_deref(), Some("forward:1234"));
        for bad in [&[][..], &[0], &[0, 0], &[1, 2, b'a', 0], &[0, 9, b'a']] {
            assert_eq!(parse_comment(bad), None);
        }
    }
}
