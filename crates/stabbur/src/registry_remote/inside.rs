//! Addresses inside a network, where a registry outside it may send nobody: what answers there takes who asks for one of
//! its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Variables that name proxies, which stand inside.
const PROXY_VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Whether an address is this machine's or a private network's (RFC 1918, 4193, 6598, 3927, 4291).
pub(super) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_inside_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_inside_v4(mapped),
            None => {
                let first = address.segments()[0];
                address.is_loopback()
                    || address.is_unspecified()
                    || address.is_multicast()
                    || first & 0xfe00 == 0xfc00
                    || first & 0xffc0 == 0xfe80
            }
        },
    }
}

fn is_inside_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || first == 0
        || (first == 100 && second & 0xc0 == 64)
}

/// Whether a URL names such an address, or this machine by its name.
pub(super) fn names_inside(url: &Url) -> bool {
    match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some(host) => {
            let is_local = host == "localhost" || host.ends_with(".localhost");
            is_local || host.parse().is_ok_and(is_inside)
        }
        None => true,
    }
}

/// Resolves names: those that a registry outside names lead nowhere inside.
#[derive(Debug)]
pub(super) struct Outside {
    /// The registry's own name, and those of proxies.
    trusted: Vec<String>,
    /// Whether the registry is inside itself.
    is_inside: Arc<AtomicBool>,
}

impl Outside {
    pub(super) fn new(base: &Url, is_inside: Arc<AtomicBool>) -> Self {
        let own = base.host_str().map(str::to_owned);
        let proxies = PROXY_VARIABLES.iter().filter_map(|name| {
            let value = std::env::var(name).ok()?;
            let url = Url::parse(&value).or_else(|_| Url::parse(&format!("http://{value}")));
            Some(url.ok()?.host_str()?.to_owned())
        });
        Self {
            trusted: own.into_iter().chain(proxies).collect(),
            is_inside,
        }
    }
}

/// Those of a name's addresses that are asked.
fn chosen(found: Vec<SocketAddr>, is_free: bool) -> std::io::Result<Vec<SocketAddr>> {
    let outside: Vec<_> = found
        .into_iter()
        .filter(|address| is_free || !is_inside(address.ip()))
        .collect();
    if outside.is_empty() {
        return Err(std::io::Error::other(
            "the name leads to no address that is asked",
        ));
    }
    Ok(outside)
}

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let is_trusted = self.trusted.iter().any(|own| own == name.as_str());
        let is_own = self.trusted.first().is_some_and(|own| own == name.as_str());
        let inside = self.is_inside.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if is_own && found.iter().any(|address| is_inside(address.ip())) {
                inside.store(true, Ordering::Relaxed);
            }
            let found = chosen(found, is_trusted || inside.load(Ordering::Relaxed))?;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_known() {
        for inside in [
            "http://localhost",
            "http://127.0.0.1",
            "https://10.1.2.3",
            "https://172.16.0.1",
            "https://192.168.1.1",
            "https://169.254.169.254",
            "https://100.64.0.1",
            "https://0.0.0.0",
            "https://[::1]",
            "https://[::ffff:10.0.0.1]",
            "https://[fd00::1]",
            "https://[fe80::1]",
            // As browsers read addresses.
            "https://2130706433",
        ] {
            assert!(names_inside(&inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "https://192.0.2.1",
            "https://h.test",
            "https://[2001:db8::1]",
            "https://100.128.0.1",
        ] {
            assert!(!names_inside(&outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn names_lead_inside_only_from_inside() {
        let both: Vec<SocketAddr> = ["10.0.0.1:0", "192.0.2.1:0"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        assert_eq!(chosen(both.clone(), true).unwrap(), both);
        assert_eq!(chosen(both.clone(), false).unwrap(), [both[1]]);
        assert!(chosen(vec![both[0]], false).is_err());
    }
}
