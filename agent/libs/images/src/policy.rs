//! Where an image may be fetched from. Pure: callers resolve names and ask about every address.
//!
//! A tenant names the URL and the hypervisor opens the connection, so without these rules a tenant could reach what
//! only the operator's hosts can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// What an operator permits, and what nobody may permit.
#[derive(Debug, Clone, Default)]
pub struct UrlPolicy {
    /// Private networks that may be reached (`IMAGE_FETCH_ALLOW`).
    pub allow: Vec<IpNet>,
    /// Addresses of the cluster itself: mesh, egress, gateway, MariaDB. Refused whatever else is allowed.
    pub deny: Vec<IpNet>,
    /// Ports besides 80 and 443 (`IMAGE_FETCH_PORTS`).
    pub ports: Vec<u16>,
    /// Host names that may be used; empty means any (`IMAGE_FETCH_HOSTS`). `*` stands for any run of characters.
    pub hosts: Vec<String>,
    /// The host of `IMAGE_DOWNLOAD_URL`, which may have a private address.
    pub mirror: Option<String>,
    /// Loopback addresses may be reached. No configuration key sets this; it exists for tests with local servers.
    pub loopback_for_tests: bool,
}

/// Why a URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// Not a URL.
    #[error("it is not a valid URL")]
    Malformed,
    /// Neither http nor https.
    #[error("only http and https URLs can be fetched")]
    Scheme,
    /// A name or password in the URL.
    #[error("URLs with a user name or password are not accepted")]
    UserInfo,
    /// A port that is not permitted.
    #[error("port {0} is not permitted")]
    Port(u16),
    /// A host that is not permitted.
    #[error("this site does not permit images from that host")]
    Host,
    /// From https to http.
    #[error("a redirect from https to http is not followed")]
    Downgrade,
    /// Too many redirects.
    #[error("more than {0} redirects")]
    Redirects(usize),
    /// An address that is not permitted.
    #[error("its address is {0}, which images may not be fetched from")]
    Address(AddressKind),
}

impl PolicyRefusal {
    /// The rule's name in metrics.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Scheme => "scheme",
            Self::UserInfo => "userinfo",
            Self::Port(_) => "port",
            Self::Host => "host",
            Self::Downgrade => "downgrade",
            Self::Redirects(_) => "redirects",
            Self::Address(_) => "address",
        }
    }
}

/// What kind of address a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind {
    /// Anyone's.
    Public,
    /// The operator's own networks: RFC 1918, RFC 4193, RFC 6598.
    Private,
    /// This machine.
    Loopback,
    /// This link, which includes the metadata services of clouds.
    LinkLocal,
    /// Nobody's, everybody's, or for documentation.
    Reserved,
    /// Part of this cluster.
    Cluster,
}

impl std::fmt::Display for AddressKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "link-local",
            Self::Reserved => "reserved",
            Self::Cluster => "one of this cluster",
        })
    }
}

/// What can be said of an address before it is known who permits what: it is a URL that can be fetched, and carries no
/// credentials, which would be kept and shown with it.
///
/// # Errors
/// [`PolicyRefusal::Malformed`], [`PolicyRefusal::Scheme`], [`PolicyRefusal::UserInfo`].
pub fn well_formed(text: &str) -> Result<Url, PolicyRefusal> {
    let url = Url::parse(text).map_err(|_| PolicyRefusal::Malformed)?;
    is_fetchable(&url)?;
    Ok(url)
}

fn is_fetchable(url: &Url) -> Result<(), PolicyRefusal> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(PolicyRefusal::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(PolicyRefusal::UserInfo);
    }
    Ok(())
}

impl UrlPolicy {
    /// Parses and checks a URL: everything that can be said before names are resolved. A literal address is checked
    /// here as well, in whatever way it is spelled.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    pub fn parse(&self, text: &str) -> Result<Url, PolicyRefusal> {
        let url = Url::parse(text).map_err(|_| PolicyRefusal::Malformed)?;
        self.check(&url, None)?;
        Ok(url)
    }

    /// Checks a URL, and that following it from `previous` loses nothing.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    pub fn check(&self, url: &Url, previous: Option<&Url>) -> Result<(), PolicyRefusal> {
        is_fetchable(url)?;
        if previous.is_some_and(|previous| previous.scheme() == "https") && url.scheme() == "http" {
            return Err(PolicyRefusal::Downgrade);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if !matches!(port, 80 | 443) && !self.ports.contains(&port) {
            return Err(PolicyRefusal::Port(port));
        }
        let host = url.host().ok_or(PolicyRefusal::Malformed)?;
        let name = url.host_str().unwrap_or_default();
        if !self.hosts.is_empty()
            && !self.is_mirror(name)
            && !self.hosts.iter().any(|glob| glob_matches(glob, name))
        {
            return Err(PolicyRefusal::Host);
        }
        match host {
            Host::Ipv4(address) => self.check_address(name, address.into()),
            Host::Ipv6(address) => self.check_address(name, address.into()),
            Host::Domain(_) => Ok(()),
        }
    }

    /// Checks one address of a host. Every address of a name must pass.
    ///
    /// # Errors
    /// [`PolicyRefusal::Address`].
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), PolicyRefusal> {
        let plain = unwrap_embedded(address);
        if self.deny.iter().any(|network| network.contains(&plain) || network.contains(&address)) {
            return Err(PolicyRefusal::Address(AddressKind::Cluster));
        }
        match classify(plain) {
            AddressKind::Public => Ok(()),
            AddressKind::Private if self.is_mirror(host) => Ok(()),
            AddressKind::Private if self.allow.iter().any(|network| network.contains(&plain)) => Ok(()),
            AddressKind::Loopback if self.loopback_for_tests => Ok(()),
            kind => Err(PolicyRefusal::Address(kind)),
        }
    }

    fn is_mirror(&self, host: &str) -> bool {
        self.mirror.as_deref().is_some_and(|mirror| mirror.eq_ignore_ascii_case(host))
    }
}

/// The IPv4 address inside an IPv6 address that stands for one (mapped, compatible, NAT64, 6to4), else the address.
fn unwrap_embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let last = || Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
    match [a, b, c, d, e, f] {
        // ::ffff:0:0/96 mapped, 64:ff9b::/96 NAT64, ::/96 compatible (but :: and ::1 are themselves).
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => last().into(),
        [0, 0, 0, 0, 0, 0] if (g, h) != (0, 0) && (g, h) != (0, 1) => last().into(),
        // 2002::/16, 6to4.
        [0x2002, ..] => Ipv4Addr::from((u32::from(b) << 16) | u32::from(c)).into(),
        _ => address,
    }
}

/// The kind of an address that embeds no other.
pub fn classify(address: IpAddr) -> AddressKind {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressKind {
    match address.octets() {
        [127, ..] => AddressKind::Loopback,
        [169, 254, ..] => AddressKind::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => AddressKind::Private,
        // "This" network, protocol assignments, documentation, 6to4 relays, benchmarks, multicast, class E, broadcast.
        [0, ..]
        | [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [224..=255, ..] => AddressKind::Reserved,
        _ => AddressKind::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressKind {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressKind::Loopback,
        [0xfe80..=0xfebf, ..] => AddressKind::LinkLocal,
        [0xfc00..=0xfdff, ..] => AddressKind::Private,
        // Protocol assignments (Teredo among them) and documentation are the parts of 2000::/3 that are not public.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] => AddressKind::Reserved,
        [0x2000..=0x3fff, ..] => AddressKind::Public,
        _ => AddressKind::Reserved,
    }
}

/// `*` stands for any run of characters; letters are compared without case.
fn glob_matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.to_ascii_lowercase(), name.to_ascii_lowercase());
    let mut parts = glob.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> UrlPolicy {
        UrlPolicy {
            allow: vec!["10.9.0.0/16".parse().unwrap()],
            deny: vec!["10.9.0.7/32".parse().unwrap(), "198.100.1.1/32".parse().unwrap()],
            ports: vec![8080],
            mirror: Some("mirror.example".to_owned()),
            ..UrlPolicy::default()
        }
    }

    #[rstest::rstest]
    #[case("http://example.com/a.qcow2", None)]
    #[case("https://example.com:443/a", None)]
    #[case("http://example.com:8080/a", None)]
    #[case("http://8.8.8.8/a", None)]
    #[case("http://10.9.1.1/a", None)]
    #[case("http://[2606:4700::1111]/a", None)]
    #[case("http://example.com:22/a", Some("port"))]
    #[case("ftp://example.com/a", Some("scheme"))]
    #[case("file:///etc/shadow", Some("scheme"))]
    #[case("sf://blob/1", Some("scheme"))]
    #[case("gopher://127.0.0.1:6379/_x", Some("scheme"))]
    #[case("http://user@example.com/", Some("userinfo"))]
    #[case("http://:pw@example.com/", Some("userinfo"))]
    #[case("nonsense", Some("malformed"))]
    #[case("http://", Some("malformed"))]
    #[case("http://127.0.0.1/", Some("address"))]
    #[case("http://127.1/", Some("address"))]
    #[case("http://2130706433/", Some("address"))]
    #[case("http://0177.0.0.1/", Some("address"))]
    #[case("http://0x7f000001/", Some("address"))]
    #[case("http://0.0.0.0/", Some("address"))]
    #[case("http://0/", Some("address"))]
    #[case("http://169.254.169.254/latest/meta-data", Some("address"))]
    #[case("http://2852039166/", Some("address"))]
    #[case("http://[::1]/", Some("address"))]
    #[case("http://[::]/", Some("address"))]
    #[case("http://[::ffff:127.0.0.1]/", Some("address"))]
    #[case("http://[::ffff:a9fe:a9fe]/", Some("address"))]
    #[case("http://[::7f00:1]/", Some("address"))]
    #[case("http://[64:ff9b::7f00:1]/", Some("address"))]
    #[case("http://[64:ff9b:1::7f00:1]/", Some("address"))]
    #[case("http://[2002:7f00:1::]/", Some("address"))]
    #[case("http://[2001:0:1::1]/", Some("address"))]
    #[case("http://[fe80::1]/", Some("address"))]
    #[case("http://[fec0::1]/", Some("address"))]
    #[case("http://[ff02::1]/", Some("address"))]
    #[case("http://[fd00:ec2::254]/", Some("address"))]
    #[case("http://10.0.0.1/", Some("address"))]
    #[case("http://172.31.255.255/", Some("address"))]
    #[case("http://192.168.1.1/", Some("address"))]
    #[case("http://100.100.100.200/", Some("address"))]
    #[case("http://224.0.0.1/", Some("address"))]
    #[case("http://255.255.255.255/", Some("address"))]
    #[case("http://192.0.0.192/", Some("address"))]
    #[case("http://10.9.0.7/", Some("address"))]
    #[case("http://[::ffff:10.9.0.7]/", Some("address"))]
    #[case("http://198.100.1.1/", Some("address"))]
    fn urls(#[case] url: &str, #[case] refused: Option<&str>) {
        assert_eq!(policy().parse(url).err().map(|refusal| refusal.rule()), refused, "{url}");
    }

    #[test]
    fn resolved_addresses_are_judged_like_literals() {
        let policy = policy();
        for (host, address, allowed) in [
            ("a.example", "93.184.216.34", true),
            ("a.example", "10.0.0.1", false),
            ("mirror.example", "10.0.0.1", true),
            ("MIRROR.example", "fd00::1", true),
            ("mirror.example", "127.0.0.1", false),
            ("mirror.example", "10.9.0.7", false),
            ("a.example", "10.9.3.3", true),
        ] {
            let answer = policy.check_address(host, address.parse().unwrap());
            assert_eq!(answer.is_ok(), allowed, "{host} {address}: {answer:?}");
        }
    }

    #[test]
    fn a_redirect_may_not_leave_https() {
        let policy = UrlPolicy::default();
        let [http, https] = ["http://a.example/", "https://a.example/"].map(|text| Url::parse(text).unwrap());
        assert_eq!(policy.check(&http, Some(&https)), Err(PolicyRefusal::Downgrade));
        assert_eq!(policy.check(&https, Some(&http)), Ok(()));
    }

    #[test]
    fn a_closed_site_names_its_hosts() {
        let closed =
            UrlPolicy { hosts: vec!["*.example.com".into(), "exact.org".into(), "a*b*c".into()], ..policy() };
        for (host, allowed) in [
            ("x.example.com", true),
            ("X.Example.COM", true),
            ("example.com", false),
            ("x.example.com.evil.org", false),
            ("exact.org", true),
            ("exact.org.x", false),
            ("a1b2c", true),
            ("acb", false),
            ("mirror.example", true),
            ("8.8.8.8", false),
        ] {
            assert_eq!(closed.parse(&format!("http://{host}/")).is_ok(), allowed, "{host}");
        }
    }
}
