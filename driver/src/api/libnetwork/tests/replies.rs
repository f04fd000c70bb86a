//! What comes back to dockerd, and what reaches the driver of a request that is in order.

use serde_json::json;

use super::*;

async fn answered(driver: &Arc<Yes>, method: Method, request: &Value) -> Value {
    let (status, reply) = call(driver, method, request.to_string().as_bytes()).await;
    assert_eq!(status, StatusCode::OK, "{method}: {reply}");
    assert_eq!(reply.get("Err"), None, "{method} {request}");
    reply
}

#[tokio::test]
async fn activation_needs_no_driver() {
    let driver = Arc::new(Yes::default());
    *driver.refusal.lock().unwrap() = Some(Refusal::new("the store and Open vSwitch are both away"));
    for (method, reply) in [
        (Method::Activate, json!({ "Implements": ["NetworkDriver", "IpamDriver"] })),
        (
            Method::NetworkCapabilities,
            json!({ "Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": false }),
        ),
        (Method::IpamCapabilities, json!({ "RequiresMACAddress": false, "RequiresRequestReplay": false })),
        (
            Method::DefaultAddressSpaces,
            json!({ "LocalDefaultAddressSpace": "sluice-local", "GlobalDefaultAddressSpace": "sluice-global" }),
        ),
        (Method::GwAllocCheck, json!({ "SkipIPv4": false, "SkipIPv6": false })),
        (Method::DiscoverNew, json!({})),
        (Method::DiscoverDelete, json!({})),
    ] {
        for body in [&b""[..], b"{}", b"\n", b"not JSON"] {
            assert_eq!(call(&driver, method, body).await, (StatusCode::OK, reply.clone()), "{method}");
        }
    }
    let allocate = json!({
        "NetworkID": "4q7t1fg53isk41y6aj9dfqsiq", "Options": { "network": "blue" },
        "IPv4Data": [{ "AddressSpace": "", "Gateway": "10.200.2.1/24", "Pool": "10.200.2.0/24" }], "IPv6Data": null,
    });
    let reply = answered(&driver, Method::AllocateNetwork, &allocate).await;
    assert_eq!(reply, json!({ "Options": { "network": "blue" } }));
    let reply =
        answered(&driver, Method::AllocateNetwork, &json!({ "NetworkID": NETWORK, "Options": null })).await;
    assert_eq!(reply, json!({ "Options": {} }));
    assert_eq!(answered(&driver, Method::FreeNetwork, &least(Method::FreeNetwork)).await, json!({}));
    assert!(driver.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn absent_null_and_unknown_fields_are_all_the_same() {
    for method in Method::ALL {
        let mut request = least(*method);
        let (plain, odd) = (Arc::new(Yes::default()), Arc::new(Yes::default()));
        let first = answered(&plain, *method, &request).await;
        for field in ["Options", "IPv4Data", "IPv6Data", "Interface", "Pool", "SubPool", "V6", "Later"] {
            if request.get(field).is_none() {
                request[field] = Value::Null;
            }
        }
        request["Newer"] = json!({ "than": ["we", "are"] });
        assert_eq!(answered(&odd, *method, &request).await, first, "{method}");
        assert_eq!(*plain.asked.lock().unwrap(), *odd.asked.lock().unwrap(), "{method}");
    }
}

#[tokio::test]
async fn a_network_is_parsed_whole() {
    let driver = Arc::new(Yes::default());
    let request = json!({
        "NetworkID": NETWORK,
        "Options": {
            "com.docker.network.enable_ipv4": true, "com.docker.network.enable_ipv6": true,
            "com.docker.network.internal": true,
            "com.docker.network.generic": { "com.docker.network.driver.mtu": "1400", "network": "blue" },
        },
        "IPv4Data": [{
            "AddressSpace": "LocalDefault", "AuxAddresses": { "rtr": "10.9.0.5/24" },
            "Gateway": "10.9.0.254/24", "Pool": "10.9.0.0/24",
        }],
        "IPv6Data": [{ "AddressSpace": "LocalDefault", "Gateway": "fd00:9::1/64", "Pool": "fd00:9::/64" }],
    });
    assert_eq!(answered(&driver, Method::CreateNetwork, &request).await, json!({}));
    let network = driver.networks.lock().unwrap().pop().unwrap();
    assert_eq!(network.network.as_str(), NETWORK);
    assert!(network.internal && network.enable_ipv4 && network.enable_ipv6);
    assert_eq!(network.options["network"], "blue");
    assert_eq!(network.options["com.docker.network.driver.mtu"], "1400");
    let [pool] = &network.ipv4[..] else { panic!("{:?}", network.ipv4) };
    assert_eq!(pool.pool, "10.9.0.0/24".parse().unwrap());
    assert_eq!(pool.gateway, Some("10.9.0.254/24".parse().unwrap()));
    assert_eq!(pool.auxiliary["rtr"], "10.9.0.5/24".parse().unwrap());
    assert!(!pool.is_null());
    assert_eq!(network.ipv6[0].gateway, Some("fd00:9::1/64".parse().unwrap()));
}

#[tokio::test]
async fn an_endpoint_is_parsed_whole() {
    let driver = Arc::new(Yes::default());
    let request = json!({
        "NetworkID": NETWORK, "EndpointID": ENDPOINT,
        "Interface": { "Address": "10.9.0.200/24", "AddressIPv6": "", "MacAddress": "02:11:22:33:44:55" },
        "Options": {
            "com.docker.network.endpoint.exposedports":
                [{ "Proto": 17, "Port": 90 }, { "Proto": 6, "Port": 80 }, { "Proto": 6, "Port": 80 }],
            "com.docker.network.endpoint.macaddress": "AhEiM0RV",
            "com.docker.network.endpoint.dnsservers": ["10.9.0.1", "fe80::1%eth0"],
            "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.rp_filter=0",
            "com.docker.network.later": { "than": "us" },
            "com.docker.network.portmap": [
                { "Proto": 6, "IP": "", "Port": 80, "HostIP": "127.0.0.1", "HostPort": 9000, "HostPortEnd": 9002 },
                { "Proto": 6, "IP": "", "Port": 79, "HostIP": "", "HostPort": 0, "HostPortEnd": 0 },
            ],
            "role": "db",
        },
    });
    assert_eq!(answered(&driver, Method::CreateEndpoint, &request).await, json!({}));
    let endpoint = driver.created.lock().unwrap().clone().unwrap();
    assert_eq!(endpoint.addresses(), ["10.9.0.200/24".parse::<IpNet>().unwrap()]);
    assert_eq!(endpoint.mac.unwrap().to_string(), "02:11:22:33:44:55");
    assert_eq!(endpoint.options.into_iter().collect::<Vec<_>>(), [("role".to_owned(), "db".to_owned())]);
    assert_eq!(endpoint.docker_options.keys().collect::<Vec<_>>(), ["com.docker.network.endpoint.sysctls"]);
    assert_eq!(endpoint.dns_servers, ["10.9.0.1", "fe80::1%eth0"]);
    let exposed: Vec<_> =
        endpoint.ports.exposed.iter().map(|p| format!("{}/{}", p.port, p.protocol)).collect();
    assert_eq!(exposed, ["80/tcp", "90/udp"]);
    let published: Vec<_> = endpoint
        .ports
        .published
        .iter()
        .map(|p| (p.port, p.host_address, p.host_port, p.host_port_end))
        .collect();
    assert_eq!(published, [(79, None, 0, 0), (80, Some("127.0.0.1".parse().unwrap()), 9000, 9002)]);
}

#[tokio::test]
async fn what_docker_chose_is_not_repeated_to_it() {
    let driver = Arc::new(Yes::default());
    *driver.endpoint.lock().unwrap() = CreateEndpointReply {
        mac: Some("02:77:77:77:77:77".parse().unwrap()),
        ipv4: Some("10.9.0.7/24".parse().unwrap()),
        ipv6: Some("fd00:9::7/64".parse().unwrap()),
    };
    let all =
        json!({ "MacAddress": "02:77:77:77:77:77", "Address": "10.9.0.7/24", "AddressIPv6": "fd00:9::7/64" });
    for (given, left) in [
        (json!({}), vec!["MacAddress", "Address", "AddressIPv6"]),
        (
            json!({ "MacAddress": "", "Address": "", "AddressIPv6": "" }),
            vec!["MacAddress", "Address", "AddressIPv6"],
        ),
        (json!({ "MacAddress": "02:77:77:77:77:77" }), vec!["Address", "AddressIPv6"]),
        (json!({ "Address": "10.9.0.7/24" }), vec!["MacAddress", "AddressIPv6"]),
        (json!({ "AddressIPv6": "fd00:9::7/64" }), vec!["MacAddress", "Address"]),
        (all.clone(), vec![]),
    ] {
        let mut request = least(Method::CreateEndpoint);
        request["Interface"] = given;
        let reply = answered(&driver, Method::CreateEndpoint, &request).await;
        let mut wanted = json!({});
        for field in left {
            wanted["Interface"][field] = all[field].clone();
        }
        assert_eq!(reply, wanted, "{request}");
    }
    // A MAC address in the options alone leaves the interface's open: Docker has to be told.
    let mut request = least(Method::CreateEndpoint);
    request["Options"] = json!({ "com.docker.network.endpoint.macaddress": "And3d3d3" });
    let reply = answered(&driver, Method::CreateEndpoint, &request).await;
    assert_eq!(reply["Interface"]["MacAddress"], "02:77:77:77:77:77");
    assert_eq!(
        driver.created.lock().unwrap().as_ref().unwrap().mac,
        Some("02:77:77:77:77:77".parse().unwrap())
    );
}

#[tokio::test]
async fn a_sandbox_is_told_its_link_and_routes() {
    let driver = Arc::new(Yes::default());
    let reply = answered(&driver, Method::Join, &least(Method::Join)).await;
    assert_eq!(reply, json!({ "InterfaceName": { "SrcName": "slc-466a5367549", "DstPrefix": "eth" } }));

    let link: crate::model::LinkName = "slc-1".parse().unwrap();
    *driver.join.lock().unwrap() = Some(JoinReply {
        prefix: "net".parse().unwrap(),
        gateway: Some("10.9.0.1".parse().unwrap()),
        gateway_v6: Some("fd00:9::1".parse().unwrap()),
        static_routes: vec![
            StaticRoute::by("10.99.0.0/16".parse().unwrap(), "10.9.0.2".parse().unwrap()).unwrap(),
            StaticRoute::connected("169.254.1.1/32".parse().unwrap()).unwrap(),
        ],
        disable_gateway_service: true,
        ..JoinReply::new(link)
    });
    let reply = answered(&driver, Method::Join, &least(Method::Join)).await;
    let wanted = json!({
        "InterfaceName": { "SrcName": "slc-1", "DstPrefix": "net" },
        "Gateway": "10.9.0.1", "GatewayIPv6": "fd00:9::1", "DisableGatewayService": true,
        "StaticRoutes": [
            { "Destination": "10.99.0.0/16", "RouteType": 0, "NextHop": "10.9.0.2" },
            { "Destination": "169.254.1.1/32", "RouteType": 1, "NextHop": "" },
        ],
    });
    assert_eq!(reply, wanted);
}

#[test]
fn routes_and_prefixes_that_docker_fails_on_cannot_be_made() {
    let hop = "10.9.0.1".parse().unwrap();
    for default in ["0.0.0.0/0", "::/0"] {
        let default: IpNet = default.parse().unwrap();
        assert_eq!(StaticRoute::connected(default), Err(StaticRouteError::Default(default)));
    }
    assert!(matches!(StaticRoute::by("0.0.0.0/0".parse().unwrap(), hop), Err(StaticRouteError::Default(_))));
    assert!(matches!(StaticRoute::by("fd00::/8".parse().unwrap(), hop), Err(StaticRouteError::Family(..))));
    for bad in ["", "0", "eth0123456789", "e h", "e/h"] {
        assert!(bad.parse::<InterfacePrefix>().is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn a_refusal_has_both_keys_and_one_line() {
    let driver = Arc::new(Yes::default());
    *driver.refusal.lock().unwrap() = Some(Refusal::new("pool blue is full:\n\tadd a subnet"));
    for method in Method::ALL.iter().filter(|method| !BODILESS.contains(method)) {
        if matches!(method, Method::AllocateNetwork | Method::FreeNetwork) {
            continue;
        }
        let (status, reply) = call(&driver, *method, least(*method).to_string().as_bytes()).await;
        let line = "pool blue is full: add a subnet";
        assert_eq!((status, reply), (StatusCode::OK, json!({ "Err": line, "Error": line })), "{method}");
    }
    *driver.refusal.lock().unwrap() = Some(Refusal::not_implemented());
    for method in [Method::ProgramExternalConnectivity, Method::RevokeExternalConnectivity] {
        let (status, _) = call(&driver, method, least(method).to_string().as_bytes()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn pools_and_addresses() {
    let driver = Arc::new(Yes::default());
    let request = json!({
        "AddressSpace": "sluice-local", "Pool": "10.21.0.0/16", "SubPool": "10.21.5.0/24",
        "Options": { "network": "blue" }, "V6": false,
    });
    let reply = answered(&driver, Method::RequestPool, &request).await;
    assert_eq!(reply, json!({ "PoolID": "host/10.21.0.0/16", "Pool": "10.21.0.0/16", "Data": {} }));
    let request = json!({ "PoolID": "p", "Address": "10.21.0.9", "Options": null });
    let reply = answered(&driver, Method::RequestAddress, &request).await;
    assert_eq!(reply, json!({ "Address": "10.21.0.9/32", "Data": {} }));
    let request = json!({
        "PoolID": "p", "Address": "",
        "Options": { "RequestAddressType": "com.docker.network.gateway", "com.docker.network.ipam.serial": "true" },
    });
    answered(&driver, Method::RequestAddress, &request).await;
    let asked = driver.asked.lock().unwrap().pop().unwrap();
    assert!(asked.contains("purpose: Gateway") && asked.contains("ipam.serial"), "{asked}");
    let reply = RequestPoolReply {
        id: "p".parse().unwrap(),
        pool: "10.230.0.0/24".parse().unwrap(),
        gateway: Some("10.230.0.77/24".parse().unwrap()),
    };
    assert_eq!(reply.to_json()["Data"], json!({ "com.docker.network.gateway": "10.230.0.77/24" }));
    for (name, space) in [
        ("", AddressSpace::Local),
        ("sluice-global", AddressSpace::Global),
        ("x", AddressSpace::Other("x".into())),
    ] {
        assert_eq!(AddressSpace::from(name), space);
    }
}
