//! Addresses of servers (D-Bus Specification, "Server Addresses"):
//! `unix:path=/run/user/1000/bus,guid=...;unix:abstract=/tmp/x`.

/// A socket to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// In the file system.
    Path(String),
    /// In the abstract namespace.
    Abstract(String),
}

impl Address {
    /// The first address of a list that is of a kind that we know.
    pub fn parse(list: &str) -> Option<Address> {
        list.split(';').find_map(|one| {
            let pairs = one.strip_prefix("unix:")?;
            pairs.split(',').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                match key {
                    "path" => unescape(value).map(Address::Path),
                    "abstract" => unescape(value).map(Address::Abstract),
                    _ => None,
                }
            })
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Path(path) => f.write_str(path),
            Address::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// `%20` is a space.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unix_address_is_taken() {
        let path = |path: &str| Some(Address::Path(path.to_owned()));
        for (list, address) in [
            ("unix:path=/run/user/1000/bus", path("/run/user/1000/bus")),
            ("unix:guid=ab,path=/a%20b,x=y", path("/a b")),
            ("tcp:host=h,port=1;unix:abstract=/tmp/x", Some(Address::Abstract("/tmp/x".into()))),
            ("unix:dir=/tmp;unix:path=/p", path("/p")),
            ("autolaunch:", None),
            ("unix:path=/a%", None),
            ("unix:path=/a%zz", None),
            ("", None),
        ] {
            assert_eq!(Address::parse(list), address, "{list}");
        }
    }
}
