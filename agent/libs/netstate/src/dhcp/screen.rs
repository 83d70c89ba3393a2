//! What of a packet reaches the codec: the fixed part and the few options the server looks at, each of the length it
//! must have. The codec ends the process on some ill-formed options, and any guest may send those.

/// Bytes before the options, the magic number included.
const FIXED: usize = 240;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
const PAD: u8 = 0;
const REQUESTED_ADDRESS: u8 = 50;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const CLIENT_IDENTIFIER: u8 = 61;
const END: u8 = 255;

/// The packet with only the options the server needs; `None` when it is no DHCP packet or one of those is ill-formed.
pub(super) fn needed(packet: &[u8]) -> Option<Vec<u8>> {
    let (fixed, mut options) = packet.split_at_checked(FIXED)?;
    if fixed.get(236..) != Some(&MAGIC) {
        return None;
    }
    let mut screened = fixed.to_vec();
    let mut seen = Vec::new();
    while let Some((code, rest)) = options.split_first() {
        options = match *code {
            PAD => rest,
            END => break,
            code => {
                let (length, rest) = rest.split_first()?;
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                if let Some(fits) = fits(code, value.len()) {
                    // A second one of a kind would have to be joined to the first; nobody sends these in parts.
                    if !fits || seen.contains(&code) {
                        return None;
                    }
                    seen.push(code);
                    screened.extend([code, *length]);
                    screened.extend(value);
                }
                rest
            }
        };
    }
    screened.push(END);
    Some(screened)
}

/// Whether an option may have this length; `None` for options nobody looks at.
fn fits(code: u8, length: usize) -> Option<bool> {
    match code {
        MESSAGE_TYPE => Some(length == 1),
        REQUESTED_ADDRESS | SERVER_IDENTIFIER => Some(length == 4),
        CLIENT_IDENTIFIER => Some(length >= 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 236];
        packet.extend(MAGIC);
        packet.extend(options);
        packet
    }

    #[test]
    fn only_needed_and_well_formed_options_pass() {
        let options = [0, 53, 1, 1, 90, 2, 1, 2, 50, 4, 10, 0, 0, 9, 255, 7, 7];
        assert_eq!(needed(&packet(&options)).unwrap()[240..], [53, 1, 1, 50, 4, 10, 0, 0, 9, 255]);
        for bad in
            [&[53, 2, 1, 1][..], &[50, 3, 1, 2, 3], &[61, 0], &[53], &[53, 9, 1], &[53, 1, 1, 53, 1, 1]]
        {
            assert_eq!(needed(&packet(bad)), None, "{bad:?}");
        }
        assert_eq!(needed(&[0; 239]), None);
        assert_eq!(needed(&[0; 260]), None, "another magic number");
    }
}
