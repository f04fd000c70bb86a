//! What an image says of the process that it is for (config.md), and the users that it names.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// An operating system and a processor, by Go's names (`linux/amd64`, `linux/arm/v7`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`, `ppc64le` and so on.
    pub architecture: String,
    /// `v7` for 32-bit ARM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Whether `other` will do where this was asked for: a variant is compared when it was asked for.
    pub fn covers(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(format!("`{text}` is no platform; write linux/amd64 or linux/arm/v7")),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(format!("`{text}` has an empty part; write linux/amd64 or linux/arm/v7"));
        }
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

/// The `config` member of an image's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Container {
    /// `user`, `uid`, `user:group` or `uid:gid`.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// `NAME=value`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// The beginning of the command.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// The rest of the command.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// The working directory.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Paths of volumes, as the names of empty objects.
    #[serde(deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends the process.
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
}

/// Docker writes `null` where a list or a map is empty.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// An image's configuration.
#[derive(Debug, Clone, Default)]
pub struct ImageConfig {
    /// What it runs on.
    pub platform: Platform,
    /// What it runs.
    pub container: Container,
    /// The digests of its uncompressed layers.
    pub diff_ids: Vec<Digest>,
}

impl<'de> Deserialize<'de> for ImageConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            os: String,
            #[serde(default)]
            architecture: String,
            variant: Option<String>,
            #[serde(default)]
            config: Option<Container>,
            #[serde(default)]
            rootfs: RootFs,
        }
        #[derive(Default, Deserialize)]
        struct RootFs {
            #[serde(default)]
            diff_ids: Vec<Digest>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let platform = Platform { os: wire.os, architecture: wire.architecture, variant: wire.variant };
        Ok(Self { platform, container: wire.config.unwrap_or_default(), diff_ids: wire.rootfs.diff_ids })
    }
}

impl ImageConfig {
    /// From `docker inspect` of a container or an image, or from an image's own configuration.
    pub(super) fn from_inspect(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            config: Container,
            #[serde(default)]
            architecture: String,
            #[serde(default, alias = "Platform")]
            os: String,
            #[serde(default)]
            variant: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Several(Vec<Inspected>),
            One(Box<Inspected>),
        }
        let inspected = match serde_json::from_slice(bytes) {
            Ok(Either::One(one)) => *one,
            Ok(Either::Several(mut several)) if several.len() == 1 => several.remove(0),
            _ => {
                let mut config: Self = serde_json::from_slice(bytes)?;
                config.diff_ids.clear();
                return Ok(config);
            }
        };
        let variant = inspected.variant.filter(|v| !v.is_empty());
        let os = if inspected.os.is_empty() { "linux".to_owned() } else { inspected.os };
        let platform = Platform { os, architecture: inspected.architecture, variant };
        Ok(Self { platform, container: inspected.config, diff_ids: Vec::new() })
    }
}

/// The numbers of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Further groups, by /etc/group.
    pub additional_gids: Vec<u32>,
}

/// A user that the image's own files do not know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} `{name}` is not in the image's /etc/{file}; give it as a number")]
pub struct UserError {
    kind: &'static str,
    name: String,
    file: &'static str,
}

impl User {
    /// Finds the numbers for an image's `User`, as docker does: names by the image's own files, group 0 for a
    /// number that they do not know.
    ///
    /// # Errors
    /// When a name is not in the files.
    pub fn resolve(text: &str, passwd: &str, group: &str) -> Result<Self, UserError> {
        let (user, group_name) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let number: Option<u32> = user.parse().ok();
        // name:password:uid:gid:…
        let known = passwd.lines().find_map(|line| {
            let f: Vec<&str> = line.split(':').collect();
            let (uid, gid) = (f.get(2)?.parse().ok()?, f.get(3)?.parse().ok()?);
            (f[0] == user || number == Some(uid)).then(|| (f[0].to_owned(), uid, gid))
        });
        let (name, uid, own_gid) = match (known, number) {
            (Some(known), _) => known,
            (None, Some(uid)) => (String::new(), uid, 0),
            (None, None) => return Err(UserError { kind: "user", name: user.to_owned(), file: "passwd" }),
        };
        // name:password:gid:members
        let groups = || {
            group.lines().filter_map(|line| {
                let f: Vec<&str> = line.split(':').collect();
                Some((
                    f[0].to_owned(),
                    f.get(2)?.parse::<u32>().ok()?,
                    f.get(3).copied().unwrap_or("").to_owned(),
                ))
            })
        };
        let Some(group_name) = group_name.filter(|g| !g.is_empty()) else {
            let member = |members: &str| !name.is_empty() && members.split(',').any(|m| m.trim() == name);
            let mut further: Vec<u32> = groups()
                .filter(|(_, gid, members)| *gid != own_gid && member(members))
                .map(|(_, gid, _)| gid)
                .collect();
            further.sort_unstable();
            further.dedup();
            return Ok(Self { uid, gid: own_gid, additional_gids: further });
        };
        let gid = match group_name.parse() {
            Ok(gid) => gid,
            Err(_) => {
                let unknown = || UserError { kind: "group", name: group_name.to_owned(), file: "group" };
                groups().find(|(name, ..)| name == group_name).map(|(_, gid, _)| gid).ok_or_else(unknown)?
            }
        };
        Ok(Self { uid, gid, additional_gids: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nquagga:x:92:85::/:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nvty:x:85:root,quagga\nbgp:x:86:quagga, root\n";

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let user = |text| User::resolve(text, PASSWD, GROUP).map(|u| (u.uid, u.gid, u.additional_gids));
        assert_eq!(user(""), Ok((0, 0, vec![85, 86])));
        assert_eq!(user("quagga"), Ok((92, 85, vec![86])));
        assert_eq!(user("92"), Ok((92, 85, vec![86])));
        assert_eq!(user("92:7"), Ok((92, 7, vec![])));
        assert_eq!(user("quagga:bgp"), Ok((92, 86, vec![])));
        assert_eq!(user("1234"), Ok((1234, 0, vec![])));
        assert!(
            user("nobody").unwrap_err().to_string().contains("`nobody` is not in the image's /etc/passwd")
        );
        assert!(user("root:nogroup").unwrap_err().to_string().contains("/etc/group"));
    }

    #[test]
    fn a_configuration_is_read_from_each_form() {
        let own = br#"{"os":"linux","architecture":"arm","variant":"v7","config":{"Cmd":["/x"],"Env":null}}"#;
        let image = br#"[{"Architecture":"arm","Os":"linux","Variant":"v7","Config":{"Cmd":["/x"]}}]"#;
        for bytes in [&own[..], image] {
            let config = ImageConfig::from_inspect(bytes).unwrap();
            assert_eq!(config.platform.to_string(), "linux/arm/v7");
            assert_eq!(config.container.cmd, ["/x"]);
        }
        let container = br#"[{"Platform":"linux","Config":{"Cmd":null,"Entrypoint":["/y"],"User":"5"}}]"#;
        let config = ImageConfig::from_inspect(container).unwrap();
        assert_eq!((config.platform.architecture.as_str(), config.container.user.as_str()), ("", "5"));
    }

    #[test]
    fn platforms_have_two_or_three_parts() {
        assert!("linux".parse::<Platform>().is_err());
        assert!("linux//v7".parse::<Platform>().is_err());
        let any: Platform = "linux/arm".parse().unwrap();
        let v7: Platform = "linux/arm/v7".parse().unwrap();
        assert!(any.covers(&v7) && !v7.covers(&any));
    }
}
