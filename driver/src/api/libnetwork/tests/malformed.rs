//! Every call with every field missing, empty, of the wrong type, or with a value that it cannot have.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The refusal of a request, in both keys, on one line; it never reached the driver.
async fn refused(method: Method, body: &[u8]) -> String {
    let driver = Arc::new(Yes::default());
    let (status, reply) = call(&driver, method, body).await;
    let shown = String::from_utf8_lossy(body);
    assert_eq!(status, StatusCode::OK, "{method} {shown}");
    assert_eq!(reply["Err"], reply["Error"]);
    let line = reply["Err"].as_str().unwrap_or_else(|| panic!("{method} took {shown}: {reply}"));
    assert!(!line.is_empty() && !line.contains('\n') && line.len() < 500, "{line}");
    assert!(driver.asked.lock().unwrap().is_empty(), "{method} {shown} reached the driver");
    let line = line.strip_prefix(method.name()).and_then(|line| line.strip_prefix(": "));
    line.expect("a refusal of a request names the call").to_owned()
}

#[tokio::test]
async fn a_call_without_its_body_is_refused() {
    for method in Method::ALL.iter().filter(|method| !BODILESS.contains(method)) {
        for body in ["", "\n", "  \r\n"] {
            let line = refused(*method, body.as_bytes()).await;
            assert!(line.contains("run the docker command again"), "{method}: {line}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_an_object_is_refused() {
    let deep = "[".repeat(100_000);
    let deep_object = "{\"a\":".repeat(100_000);
    for method in Method::ALL.iter().filter(|method| !BODILESS.contains(method)) {
        for (body, wanted) in [
            (&b"{\"NetworkID\":\"a1f"[..], "not JSON: EOF"),
            (b"{\"NetworkID\":\"\xff\xfe\"}", "not JSON"),
            (b"{} {}", "not JSON: trailing"),
            (b"hello", "not JSON"),
            (deep.as_bytes(), "recursion limit"),
            (deep_object.as_bytes(), "recursion limit"),
            (b"[]", "the request is []: a JSON object is wanted"),
            (b"null", "the request is null"),
            (b"\"x\"", "the request is \"x\""),
            (b"7", "the request is 7"),
        ] {
            let line = refused(*method, body).await;
            assert!(line.contains(wanted), "{method}: {line}");
        }
    }
}

#[tokio::test]
async fn a_field_that_is_needed_is_named() {
    for method in Method::ALL {
        let mut least = least(*method);
        // RequestAddress needs no address, but has one that can be given.
        let fields: Vec<String> = least.as_object().unwrap().keys().cloned().collect();
        for field in fields {
            let original = least[&field].clone();
            for (value, wanted) in [
                (Value::Null, format!("{field} is missing: ")),
                (json!(""), format!("{field} is missing: ")),
                (json!(7), format!("{field} is 7: ")),
                (json!(["x"]), format!("{field} is [\"x\"]: ")),
                (json!({}), format!("{field} is {{}}: ")),
                (json!(true), format!("{field} is true: ")),
            ] {
                least[&field] = value;
                let line = refused(*method, least.to_string().as_bytes()).await;
                assert!(line.starts_with(&wanted) && line.contains("wanted"), "{method}: {line}");
            }
            let mut without = least.clone();
            without.as_object_mut().unwrap().remove(&field);
            let line = refused(*method, without.to_string().as_bytes()).await;
            assert!(line.starts_with(&format!("{field} is missing: ")), "{method}: {line}");
            least[&field] = original;
        }
    }
}

#[tokio::test]
async fn a_field_that_cannot_be_is_named_with_its_value() {
    let long = "a".repeat(65);
    let portmap = |item: Value| json!({ "Options": { "com.docker.network.portmap": [item] } });
    let exposed = |item: Value| json!({ "Options": { "com.docker.network.endpoint.exposedports": [item] } });
    let generic = |item: Value| json!({ "Options": { "com.docker.network.generic": item } });
    let pool = |item: Value| json!({ "IPv4Data": [item] });
    let (network, endpoint) = (Method::CreateNetwork, Method::CreateEndpoint);
    let mut cases = vec![
        (network, json!({ "NetworkID": long }), format!("NetworkID is \"{long}\": an id of 1 to 64")),
        (network, json!({ "NetworkID": "../x" }), "NetworkID is \"../x\"".into()),
        (network, json!({ "Options": [] }), "Options is []: an object".into()),
        (network, json!({ "Options": "x" }), "Options is \"x\"".into()),
        (network, generic(json!([])), "Options[\"com.docker.network.generic\"] is []".into()),
        (
            network,
            generic(json!({ "mtu": 1400 })),
            "Options[\"com.docker.network.generic\"].mtu is 1400: a string".into(),
        ),
        (
            network,
            json!({ "Options": { "com.docker.network.internal": 1 } }),
            "Options[\"com.docker.network.internal\"] is 1: true or false".into(),
        ),
        (
            network,
            json!({ "Options": { "com.docker.network.enable_ipv6": "yes" } }),
            "Options[\"com.docker.network.enable_ipv6\"] is \"yes\"".into(),
        ),
        (network, json!({ "IPv4Data": {} }), "IPv4Data is {}: an array".into()),
        (network, json!({ "IPv4Data": ["x"] }), "IPv4Data[0] is \"x\"".into()),
        (network, json!({ "IPv6Data": 3 }), "IPv6Data is 3: an array".into()),
        (network, pool(json!({})), "IPv4Data[0].Pool is missing: a prefix".into()),
        (network, pool(json!({ "Pool": "10.5.0.0/33" })), "IPv4Data[0].Pool is \"10.5.0.0/33\"".into()),
        (
            network,
            pool(json!({ "Pool": "10.5.0.0/16", "Gateway": "10.5.0.1" })),
            "IPv4Data[0].Gateway is \"10.5.0.1\": an address with its prefix length".into(),
        ),
        (
            network,
            pool(json!({ "Pool": "10.5.0.0/16", "AuxAddresses": { "rtr": "x" } })),
            "IPv4Data[0].AuxAddresses.rtr is \"x\"".into(),
        ),
        (
            network,
            pool(json!({ "Pool": "10.5.0.0/16", "AddressSpace": 1 })),
            "IPv4Data[0].AddressSpace is 1".into(),
        ),
        (endpoint, json!({ "Interface": "eth0" }), "Interface is \"eth0\": an object".into()),
        (
            endpoint,
            json!({ "Interface": { "Address": "10.5.0.7" } }),
            "Interface.Address is \"10.5.0.7\": an IPv4 address with its prefix length".into(),
        ),
        (
            endpoint,
            json!({ "Interface": { "Address": "fd00::7/64" } }),
            "Interface.Address is \"fd00::7/64\": an IPv4".into(),
        ),
        (
            endpoint,
            json!({ "Interface": { "AddressIPv6": "10.5.0.7/16" } }),
            "Interface.AddressIPv6 is \"10.5.0.7/16\": an IPv6".into(),
        ),
        (
            endpoint,
            json!({ "Interface": { "MacAddress": "02:42" } }),
            "Interface.MacAddress is \"02:42\": a MAC address".into(),
        ),
        (
            endpoint,
            json!({ "Interface": { "MacAddress": "02:11:22:33:44:56" },
                    "Options": { "com.docker.network.endpoint.macaddress": "AhEiM0RV" } }),
            "Interface.MacAddress is \"02:11:22:33:44:56\": the MAC address of \
             Options[\"com.docker.network.endpoint.macaddress\"], 02:11:22:33:44:55, is wanted"
                .into(),
        ),
        (
            endpoint,
            json!({ "Options": { "com.docker.network.endpoint.macaddress": "AhEiM0R" } }),
            "Options[\"com.docker.network.endpoint.macaddress\"] is \"AhEiM0R\"".into(),
        ),
        (endpoint, json!({ "Options": { "role": 1 } }), "Options.role is 1: a string".into()),
        (
            endpoint,
            json!({ "Options": { "com.docker.network.endpoint.dnsservers": "8.8.8.8" } }),
            "Options[\"com.docker.network.endpoint.dnsservers\"] is \"8.8.8.8\": an array".into(),
        ),
        (
            Method::RequestPool,
            json!({ "Pool": "10.5.0.0" }),
            "Pool is \"10.5.0.0\": a prefix such as 10.5.0.0/16".into(),
        ),
        (
            Method::RequestPool,
            json!({ "Pool": "10.5.0.0/16", "V6": true }),
            "Pool is \"10.5.0.0/16\": an IPv6 prefix is wanted".into(),
        ),
        (
            Method::RequestPool,
            json!({ "Pool": "10.5.0.0/16", "SubPool": "10.6.0.0/24" }),
            "SubPool is \"10.6.0.0/24\": a part of Pool, which is 10.5.0.0/16".into(),
        ),
        (
            Method::RequestPool,
            json!({ "Pool": "", "SubPool": "10.6.0.0/24" }),
            "SubPool is \"10.6.0.0/24\": a sub-pool goes with a Pool".into(),
        ),
        (Method::RequestPool, json!({ "V6": "maybe" }), "V6 is \"maybe\"".into()),
        (Method::RequestPool, json!({ "Options": { "network": 7 } }), "Options.network is 7".into()),
        (Method::RequestPool, json!({ "AddressSpace": [] }), "AddressSpace is []".into()),
        (Method::RequestAddress, json!({ "PoolID": "a b" }), "PoolID is \"a b\"".into()),
        (Method::RequestAddress, json!({ "Address": "10.5.0.7/16" }), "Address is \"10.5.0.7/16\"".into()),
        (
            Method::RequestAddress,
            json!({ "Options": { "RequestAddressType": 1 } }),
            "Options.RequestAddressType is 1".into(),
        ),
        (
            Method::RequestAddress,
            json!({ "Options": { "com.docker.network.endpoint.macaddress": "x" } }),
            "macaddress\"] is \"x\"".into(),
        ),
        (Method::ReleaseAddress, json!({ "Address": "seven" }), "Address is \"seven\"".into()),
        (Method::AllocateNetwork, json!({ "Options": { "a": [] } }), "Options.a is []".into()),
        (Method::Join, json!({ "EndpointID": "a/b" }), "EndpointID is \"a/b\"".into()),
    ];
    for method in [endpoint, Method::Join, Method::ProgramExternalConnectivity] {
        for (options, wanted) in [
            (portmap(json!("x")), "Options[\"com.docker.network.portmap\"][0] is \"x\""),
            (portmap(json!({ "Port": 65536 })), "portmap\"][0].Port is 65536: a port number from 0 to 65535"),
            (portmap(json!({ "Port": -1 })), "portmap\"][0].Port is -1"),
            (portmap(json!({ "Port": 80.5 })), "portmap\"][0].Port is 80.5"),
            (portmap(json!({ "Proto": 256 })), "portmap\"][0].Proto is 256: a protocol number"),
            (
                portmap(json!({ "HostIP": "localhost" })),
                "portmap\"][0].HostIP is \"localhost\": an IP address",
            ),
            (portmap(json!({ "IP": 7 })), "portmap\"][0].IP is 7"),
            (
                portmap(json!({ "HostPort": 9002, "HostPortEnd": 9000 })),
                "portmap\"][0].HostPortEnd is 9000: a port not below HostPort, which is 9002",
            ),
            (exposed(json!({ "Port": "80" })), "exposedports\"][0].Port is \"80\""),
            (exposed(json!([])), "exposedports\"][0] is []"),
        ] {
            cases.push((method, options, wanted.to_owned()));
        }
    }
    for (method, changed, wanted) in cases {
        let mut request = least(method);
        for (key, value) in changed.as_object().unwrap() {
            request[key] = value.clone();
        }
        let line = refused(method, request.to_string().as_bytes()).await;
        assert!(line.contains(&wanted), "{method}: {line:?} lacks {wanted:?}");
    }
}

#[tokio::test]
async fn a_long_value_is_shown_in_part() {
    let request = json!({ "NetworkID": "é".repeat(10_000) });
    let line = refused(Method::DeleteNetwork, request.to_string().as_bytes()).await;
    assert!(line.len() < 400 && line.contains("é…: an id"), "{line}");
}

/// JSON of any shape, with keys and values that the protocol has among others.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC*".prop_map(Value::from),
        prop::sample::select(vec![NETWORK, ENDPOINT, "10.5.0.0/16", "10.5.0.7", "fd00::/64", "AhEiM0RV", ""])
            .prop_map(Value::from),
    ];
    let key = prop_oneof![
        1 => "\\PC*",
        9 => prop::sample::select(vec![
            "NetworkID", "EndpointID", "SandboxKey", "Options", "IPv4Data", "IPv6Data", "Pool", "SubPool", "PoolID",
            "Address", "Interface", "MacAddress", "V6", "Gateway", "AuxAddresses", "Port", "HostPort", "Proto",
            "com.docker.network.generic", "com.docker.network.portmap", "com.docker.network.endpoint.macaddress",
            "com.docker.network.endpoint.exposedports",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Whatever the body, the answer is one that dockerd understands: an object, and in it no refusal, or one in both
/// keys.
fn check_understood(method: Method, body: &[u8]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let driver = Arc::new(Yes::default());
    let (status, reply) = runtime.block_on(call(&driver, method, body));
    prop_assert_eq!(status, StatusCode::OK);
    prop_assert!(reply.is_object());
    prop_assert_eq!(reply.get("Err"), reply.get("Error"));
    if let Some(line) = reply.get("Err") {
        let line = line.as_str().expect("a refusal is text");
        prop_assert!(!line.is_empty() && !line.contains(char::is_control));
        prop_assert!(driver.asked.lock().unwrap().is_empty());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(method in prop::sample::select(Method::ALL), body in prop::collection::vec(any::<u8>(), 0..512)) {
        check_understood(method, &body)?;
    }

    #[test]
    fn any_json_gets_an_answer(method in prop::sample::select(Method::ALL), body in any_json()) {
        check_understood(method, body.to_string().as_bytes())?;
    }

    #[test]
    fn any_field_of_a_request_may_be_anything(
        method in prop::sample::select(Method::ALL),
        changes in prop::collection::btree_map("[A-Za-z0-9]{1,10}", any_json(), 0..4),
        known in prop::sample::select(vec!["Options", "Interface", "IPv4Data", "IPv6Data", "Pool", "Address"]),
        value in any_json(),
    ) {
        let mut request = least(method);
        for (key, value) in changes {
            request[key] = value;
        }
        request[known] = value;
        check_understood(method, request.to_string().as_bytes())?;
    }
}
