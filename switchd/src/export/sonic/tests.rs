//! The manifest against what SONiC's package manager says of it.

use serde_json::{Value, json};

use super::*;

/// A type of the schema.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Text,
    Bool,
    Texts,
    /// An object from names to texts.
    Map,
    /// A version, by semver.
    Version,
    /// Objects with `name` and perhaps `version`.
    Packages,
    /// Objects with `source`, `target` and `type`.
    Mounts,
    /// Objects with `name` and perhaps `reconciles`.
    Processes,
}

/// The fields that `sonic_package_manager/manifest.py` (sonic-utilities, July 2026) knows: where, of which type,
/// and whether it insists on them. What it does not know it ignores, so a misspelt field would do nothing.
const SCHEMA: [(&str, Type, bool); 52] = {
    use Type::*;
    [
        ("version", Version, false),
        ("package.version", Version, true),
        ("package.name", Text, true),
        ("package.description", Text, false),
        ("package.base-os", Map, false),
        ("package.depends", Packages, false),
        ("package.breaks", Packages, false),
        ("package.init-cfg", Map, false),
        ("package.changelog", Map, false),
        ("package.debug-dump", Text, false),
        ("service.name", Text, true),
        ("service.requires", Texts, false),
        ("service.requisite", Texts, false),
        ("service.wanted-by", Texts, false),
        ("service.after", Texts, false),
        ("service.before", Texts, false),
        ("service.dependent", Texts, false),
        ("service.dependent-of", Texts, false),
        ("service.post-start-action", Text, false),
        ("service.pre-shutdown-action", Text, false),
        ("service.asic-service", Bool, false),
        ("service.host-service", Bool, false),
        ("service.delayed", Bool, false),
        ("service.check_up_status", Bool, false),
        ("service.type", Text, false),
        ("service.stop-time", Text, false),
        ("service.warm-shutdown.after", Texts, false),
        ("service.warm-shutdown.before", Texts, false),
        ("service.fast-shutdown.after", Texts, false),
        ("service.fast-shutdown.before", Texts, false),
        ("service.syslog.support-rate-limit", Bool, false),
        ("container.privileged", Bool, false),
        ("container.volumes", Texts, false),
        ("container.mounts", Mounts, false),
        ("container.environment", Map, false),
        ("container.tmpfs", Texts, false),
        ("processes", Processes, false),
        ("cli.mandatory", Bool, false),
        ("cli.show", Texts, false),
        ("cli.config", Texts, false),
        ("cli.clear", Texts, false),
        ("cli.auto-generate-show", Bool, false),
        ("cli.auto-generate-config", Bool, false),
        ("cli.auto-generate-show-source-yang-modules", Texts, false),
        ("cli.auto-generate-config-source-yang-modules", Texts, false),
        // Objects on the way to others.
        ("package", Map, true),
        ("service", Map, true),
        ("service.warm-shutdown", Map, false),
        ("service.fast-shutdown", Map, false),
        ("service.syslog", Map, false),
        ("container", Map, false),
        ("cli", Map, false),
    ]
};

fn objects(value: &Value, required: &[&str], optional: &[&str]) -> bool {
    value.as_array().is_some_and(|items| {
        items.iter().all(|item| {
            item.as_object().is_some_and(|object| {
                required.iter().all(|name| object.get(*name).is_some_and(Value::is_string))
                    && object.keys().all(|k| required.contains(&k.as_str()) || optional.contains(&k.as_str()))
            })
        })
    })
}

fn is(value: &Value, wanted: Type) -> bool {
    match wanted {
        Type::Text => value.is_string(),
        Type::Bool => value.is_boolean(),
        Type::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        Type::Map => value.is_object(),
        Type::Version => value.as_str().is_some_and(package::semantic),
        Type::Packages => objects(value, &["name"], &["version", "components"]),
        Type::Mounts => objects(value, &["source", "target", "type"], &[]),
        Type::Processes => objects(value, &["name"], &["reconciles"]),
    }
}

/// What SONiC would say against a manifest: every field known, of its type, and those there that must be.
fn wrong(value: &Value) -> Vec<String> {
    fn walk(path: &str, value: &Value, wrong: &mut Vec<String>) {
        for (name, value) in value.as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match SCHEMA.iter().find(|(known, ..)| *known == path) {
                None => wrong.push(format!("{path} is not known")),
                Some((_, wanted, _)) if !is(value, *wanted) => wrong.push(format!("{path} is no {wanted:?}")),
                Some(_) => {}
            }
            let holds_fields = SCHEMA.iter().any(|(known, ..)| known.starts_with(&format!("{path}.")));
            if holds_fields {
                walk(&path, value, wrong);
            }
        }
    }
    let mut found = Vec::new();
    walk("", value, &mut found);
    for (path, _, required) in SCHEMA {
        if required && value.pointer(&format!("/{}", path.replace('.', "/"))).is_none() {
            found.push(format!("{path} is missing"));
        }
    }
    found
}

/// The manifest of a bundle with these members of its description in place of the usual ones.
fn bundle(change: impl FnOnce(&mut Value)) -> Manifest {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mut value = json!({
        "format": crate::bundle::FORMAT, "app": "agent", "version": "1.4.0",
        "platform": { "os": "linux", "architecture": "amd64" },
        "process": {
            "args": ["/bin/agent"], "env": ["PATH=/bin", "MOTD=it's $HOME; `ls`"], "cwd": "/", "uid": 0, "gid": 0,
            "additional_gids": [], "stop_signal": 15, "stop_timeout_ms": 10_500,
        },
        "run": {
            "capabilities": [], "network": "host", "limits": {}, "mounts": [], "tmpfs": ["run", "tmp"],
        },
        "labels": {}, "source": { "kind": "oci", "layers": [] }, "mtime": 0,
        "payload": { "digest": digest, "size": 0, "unpacked_size": 1024 }, "entries": [],
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn described(manifest: &Manifest) -> (Value, Vec<Weaker>) {
    let described = describe(manifest, &SonicPackage::default(), false).unwrap();
    (serde_json::to_value(described.manifest).unwrap(), described.weaker)
}

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    describe(&bundle(change), &SonicPackage::default(), false).unwrap_err().to_string()
}

#[test]
fn every_field_is_one_of_the_schema_and_of_its_type() {
    let mounts = json!([
        { "target": "etc/sluice", "source": "/etc/sluice", "writable": false, "file": false },
        { "target": "var/lib/sluice", "source": "/var/lib/sluice", "writable": true, "file": false },
    ]);
    let manifest = bundle(|m| m["run"]["mounts"] = mounts);
    let package = SonicPackage::parse(
        "description = \"d\"\ndepends = [\"swss>=1.0.0\"]\nbreaks = [\"vxlan-agent\"]\n\
         base-os = { libswsscommon = \"^1.0.0\" }\n\
         [service]\nrequires = [\"config-setup\"]\nrequisite = [\"swss\"]\nwanted-by = [\"swss\"]\n\
         after = [\"swss\"]\nbefore = [\"snmp\"]\ndependent = [\"lldp\"]\ndependent-of = [\"swss\"]\n\
         asic-service = true\ndelayed = true\nwarm-shutdown = { before = [\"swss\"] }\n\
         fast-shutdown = { after = [\"bgp\"] }\n",
    )
    .unwrap();
    let described = describe(&manifest, &package, false).unwrap();
    let value = serde_json::to_value(described.manifest).unwrap();
    assert_eq!(wrong(&value), [""; 0]);
    assert_eq!(
        value,
        json!({
            "version": "1.0.0",
            "package": {
                "name": "agent", "version": "1.4.0", "description": "d",
                "base-os": { "libswsscommon": "^1.0.0" },
                "depends": [{ "name": "swss", "version": ">=1.0.0" }],
                "breaks": [{ "name": "vxlan-agent", "version": "*" }],
            },
            "service": {
                "name": "agent", "stop-time": "11", "requires": ["config-setup"], "requisite": ["swss"],
                "wanted-by": ["swss"], "after": ["swss"], "before": ["snmp"], "dependent": ["lldp"],
                "dependent-of": ["swss"], "asic-service": true, "host-service": true, "delayed": true,
                "warm-shutdown": { "after": [], "before": ["swss"] },
                "fast-shutdown": { "after": ["bgp"], "before": [] },
            },
            "container": {
                "privileged": false,
                "volumes": ["/etc/sluice:/etc/sluice:ro"],
                "mounts": [{ "type": "bind", "source": "/var/lib/sluice", "target": "/var/lib/sluice" }],
                "environment": {},
                "tmpfs": [
                    "/run:rw,nosuid,nodev,exec,mode=1777,size=16m",
                    "/tmp:rw,nosuid,nodev,exec,mode=1777,size=16m",
                ],
            },
            "processes": [],
        })
    );
}

#[test]
fn the_check_against_the_schema_finds_what_is_wrong() {
    let (good, _) = described(&bundle(|_| {}));
    assert_eq!(wrong(&good), [""; 0]);
    let changes: [(&str, Value, &str); 6] = [
        ("/service/asic-service", json!("false"), "service.asic-service is no Bool"),
        ("/package/version", json!("1.0"), "package.version is no Version"),
        ("/container/volumes", json!("a:b"), "container.volumes is no Texts"),
        ("/container/mounts", json!([{ "source": "a" }]), "container.mounts is no Mounts"),
        ("/service/warm-shutdown", json!({ "befor": [] }), "service.warm-shutdown.befor is not known"),
        ("/service", json!({}), "service.name is missing"),
    ];
    for (path, value, says) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        assert_eq!(wrong(&bad), [says], "{path}");
    }
}

#[test]
fn what_sonic_cannot_do_is_refused_by_name() {
    let mount = |target: &str, source: &str| json!([{ "target": target, "source": source, "writable": false, "file": false }]);
    let cases: [(&str, String); 11] = [
        ("`app` is `swss`", refusal(|m| m["app"] = json!("swss"))),
        ("`app` is `switchd`", refusal(|m| m["app"] = json!("switchd"))),
        ("`version` is `1.4`", refusal(|m| m["version"] = json!("1.4"))),
        ("`network` is \"none\"", refusal(|m| m["run"]["network"] = json!("none"))),
        (
            "`capabilities` has CAP_NET_ADMIN, and",
            refusal(|m| m["run"]["capabilities"] = json!(["CAP_NET_ADMIN", "CAP_NET_RAW"])),
        ),
        (
            "effective for root only",
            refusal(|m| {
                m["process"]["uid"] = json!(7);
                m["run"]["capabilities"] = json!(["CAP_NET_RAW"]);
            }),
        ),
        ("in the groups [4, 7]", refusal(|m| m["process"]["additional_gids"] = json!([4, 7]))),
        ("`mounts.source` has `/a b`", refusal(|m| m["run"]["mounts"] = mount("x", "/a b"))),
        ("`mounts` has `a:b`", refusal(|m| m["run"]["mounts"] = mount("a:b", "/x"))),
        ("the target `/run/redis`", refusal(|m| m["run"]["mounts"] = mount("run/redis", "/x"))),
        ("`tmpfs` has `a;b`", refusal(|m| m["run"]["tmpfs"] = json!(["a;b"]))),
    ];
    for (says, refusal) in cases {
        assert!(refusal.contains(says), "{says}: {refusal}");
    }
    let nobody = SonicPackage::parse("[service]\nhost-service = false").unwrap();
    assert_eq!(describe(&bundle(|_| {}), &nobody, true).unwrap_err(), SonicRefusal::NoService);
}

#[test]
fn what_is_weaker_is_told_by_name() {
    let fields = |weaker: Vec<Weaker>| weaker.iter().map(Weaker::field).collect::<Vec<_>>();
    let (_, weaker) = described(&bundle(|_| {}));
    assert_eq!(fields(weaker), ["root", "no_new_privileges", "capabilities"]);
    let (_, weaker) = described(&bundle(|m| m["process"]["uid"] = json!(1000)));
    assert_eq!(fields(weaker), ["root", "no_new_privileges"], "they are root's");
    let manifest = bundle(|m| {
        m["run"]["limits"] = json!({ "memory": 1 << 20, "pids": 5, "cpu_millis": 100 });
        m["run"]["mounts"] = json!([{ "target": "x", "source": "/x", "writable": false, "file": true }]);
        m["health"] = json!({ "probe": { "tcp": "a:1" }, "timeout_ms": 1, "interval_ms": 1, "soak_ms": 1 });
        m["run"]["capabilities"] = json!(DOCKER_CAPABILITIES);
    });
    let (_, weaker) = described(&manifest);
    let wanted = [
        "root",
        "no_new_privileges",
        "limits.memory",
        "limits.pids",
        "limits.cpus",
        "health.tcp",
        "mounts.source",
    ];
    assert_eq!(fields(weaker), wanted);
}

#[test]
fn a_capability_beyond_dockers_makes_it_privileged_after_consent() {
    let manifest = bundle(|m| m["run"]["capabilities"] = json!(["CAP_NET_ADMIN"]));
    let described = describe(&manifest, &SonicPackage::default(), true).unwrap();
    assert!(described.manifest.container.privileged);
    assert!(described.weaker.contains(&Weaker::Privileged));
    // Consent to what is not needed gives nothing.
    let described = describe(&bundle(|_| {}), &SonicPackage::default(), true).unwrap();
    assert!(!described.manifest.container.privileged);
}
