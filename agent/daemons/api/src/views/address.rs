//! Address reservations (`rest-api.md` §2.12).

use serde::Serialize;
use sf_protos::networks::Address;

use super::seconds;

/// One address of a network that is not free.
#[derive(Debug, Serialize)]
pub struct AddressView {
    address: String,
    r#type: String,
    /// Kind and id, or nothing: clients join it.
    user: Vec<String>,
    when: f64,
    comment: String,
}

impl From<Address> for AddressView {
    fn from(address: Address) -> Self {
        let user = address.user.map(|user| vec![user.object_type, user.object_id]);
        Self {
            address: address.address,
            r#type: address.kind,
            user: user.unwrap_or_default(),
            when: seconds(address.when.as_ref()).unwrap_or(0.0),
            comment: address.comment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn addresses_look_like_this() {
        let free = Address { user: None, kind: "deletion-halo".into(), ..samples::address() };
        insta::assert_json_snapshot!([AddressView::from(samples::address()), AddressView::from(free)]);
    }
}
