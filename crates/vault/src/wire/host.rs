//! The host that a request names: which vault, and what strangers are told.

/// A host as the client named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// In lower case, without port.
    pub(crate) name: String,
    /// As it was written, if it was.
    pub(crate) port: Option<u16>,
}

impl Host {
    /// Reads `name[:port]`. Whatever can't be part of a link is refused: hosts are put into links and headers.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => {
                // The port of `https` is left out of links and audiences.
                let port: u16 = port.parse().ok()?;
                (name, (port != 443).then_some(port))
            }
            _ => (text, None),
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
        (!name.is_empty() && name.len() <= 255 && name.bytes().all(fits)).then(|| Self {
            name: name.to_ascii_lowercase(),
            port,
        })
    }

    /// `name[:port]`, for links.
    pub(crate) fn authority(&self) -> String {
        self.with_port(&self.name)
    }

    /// Another name with the same port.
    pub(crate) fn with_port(&self, name: &str) -> String {
        match self.port {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        }
    }

    /// Whether it is this machine's own name or address.
    pub(crate) fn is_loopback(&self) -> bool {
        self.name == "localhost" || self.name == "[::1]" || self.name == "127.0.0.1"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        let host = Host::parse("Dev.Vault.localhost:8443").unwrap();
        assert_eq!(
            (host.name.as_str(), host.port),
            ("dev.vault.localhost", Some(8443))
        );
        assert_eq!(host.authority(), "dev.vault.localhost:8443");
        assert_eq!(host.with_port("vault.localhost"), "vault.localhost:8443");
        assert_eq!(Host::parse("[::1]").unwrap().port, None);
        assert_eq!(Host::parse("a.b:443").unwrap().authority(), "a.b");
        assert!(Host::parse("[::1]:80").unwrap().is_loopback());
        for bad in ["", ":80", "a b", "a\"b", "a:b", "a:99999", "a/b", "a,b"] {
            assert_eq!(Host::parse(bad), None, "{bad}");
        }
    }
}
