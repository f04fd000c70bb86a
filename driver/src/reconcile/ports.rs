//! The steps that lead links and switch ports to the plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{EndpointId, LinkName};
use crate::plan::ports::{LinkPlan, PortKind, PortPlan, PortsPlan};

/// A port of ours that is on the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPort {
    /// The bridge that it is on.
    pub bridge: String,
    /// Its name.
    pub name: LinkName,
}

/// Why an endpoint cannot have its port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The link was in a sandbox and went with it.
    #[error(
        "the link {link} of endpoint {endpoint} is gone, with its sandbox or because the host was restarted: \
         restart the container"
    )]
    LinkGone {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its host link.
        link: LinkName,
    },
}

/// What to do, in the order of the fields. Flows are changed between `add_ports` and `remove_ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSteps {
    /// Links to make.
    pub create_links: Vec<LinkPlan>,
    /// Ports to make or to mend: all that should be there and whose link is, or will be after `create_links`.
    pub add_ports: Vec<PortPlan>,
    /// Ports of ours that nobody wants.
    pub remove_ports: Vec<ObservedPort>,
    /// Endpoints whose links nobody wants.
    pub delete_links: Vec<EndpointId>,
    /// Endpoints that cannot be served, and why.
    pub refused: BTreeMap<EndpointId, Refusal>,
}

/// Compares the plan with the endpoint links and the ports of ours that are there. `spares`: links that are to stay
/// although no endpoint has them.
pub fn steps(
    plan: &PortsPlan,
    links: &BTreeSet<EndpointId>,
    spares: &BTreeSet<EndpointId>,
    ports: &[ObservedPort],
    integration_bridge: &str,
) -> PortSteps {
    let mut steps = PortSteps::default();
    for (id, link) in &plan.links {
        if links.contains(id) {
            continue;
        }
        if link.create {
            steps.create_links.push(link.clone());
        } else if plan.ports.contains_key(&id.host_link()) {
            let refusal = Refusal::LinkGone { endpoint: link.endpoint.clone(), link: id.host_link() };
            steps.refused.insert(link.endpoint.clone(), refusal);
        }
    }
    let is_refused =
        |port: &PortPlan| matches!(&port.kind, PortKind::Endpoint(id) if steps.refused.contains_key(id));
    steps.add_ports = plan.ports.values().filter(|port| !is_refused(port)).cloned().collect();
    let wanted: BTreeSet<(&str, &LinkName)> = steps
        .add_ports
        .iter()
        .flat_map(|port| {
            let peer = match &port.kind {
                PortKind::Trunk { bridge, peer, .. } => Some((bridge.as_str(), peer)),
                _ => None,
            };
            std::iter::once((integration_bridge, &port.name)).chain(peer)
        })
        .collect();
    let spare_ports: BTreeSet<LinkName> = spares.iter().map(EndpointId::host_link).collect();
    let is_wanted = |port: &&ObservedPort| {
        wanted.contains(&(port.bridge.as_str(), &port.name)) || spare_ports.contains(&port.name)
    };
    steps.remove_ports = ports.iter().filter(|port| !is_wanted(port)).cloned().collect();
    let is_unwanted = |id: &&EndpointId| !plan.links.contains_key(*id) && !spares.contains(*id);
    steps.delete_links = links.iter().filter(is_unwanted).cloned().collect();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::VlanId;
    use ofctl::MacAddr;

    fn id(text: &str) -> EndpointId {
        text.parse().unwrap()
    }

    fn plan(entries: &[(&str, bool)]) -> PortsPlan {
        let mut plan = PortsPlan::default();
        for (text, create) in entries {
            let endpoint = id(text);
            let name = endpoint.host_link();
            plan.ports.insert(name.clone(), PortPlan { name, kind: PortKind::Endpoint(endpoint.clone()) });
            let (link, mac) = (endpoint.clone(), MacAddr::default());
            let link = LinkPlan { endpoint: endpoint.clone(), link, mac, mtu: 1450, create: *create };
            plan.links.insert(endpoint, link);
        }
        plan
    }

    fn on(bridge: &str, name: LinkName) -> ObservedPort {
        ObservedPort { bridge: bridge.to_owned(), name }
    }

    #[test]
    fn both_sides_are_walked() {
        let links = BTreeSet::from([id("bb"), id("dd")]);
        let ports = [on("br-int", id("bb").host_link()), on("br-int", id("dd").host_link())];
        let steps = steps(
            &plan(&[("aa", true), ("bb", false), ("cc", false)]),
            &links,
            &BTreeSet::new(),
            &ports,
            "br-int",
        );
        assert_eq!(steps.create_links.iter().map(|l| l.endpoint.as_str()).collect::<Vec<_>>(), ["aa"]);
        assert_eq!(
            steps.add_ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(),
            ["slh-aa", "slh-bb"]
        );
        assert_eq!(steps.remove_ports, [on("br-int", id("dd").host_link())]);
        assert_eq!(steps.delete_links, [id("dd")]);
        assert_eq!(steps.refused.keys().collect::<Vec<_>>(), [&id("cc")]);
    }

    #[test]
    fn spares_stay() {
        let links = BTreeSet::from([id("aa"), id("s1")]);
        let ports = [on("br-int", id("aa").host_link()), on("br-int", id("s1").host_link())];
        let steps = steps(&PortsPlan::default(), &links, &BTreeSet::from([id("s1")]), &ports, "br-int");
        assert_eq!(steps.remove_ports, [on("br-int", id("aa").host_link())]);
        assert_eq!(steps.delete_links, [id("aa")]);
    }

    #[test]
    fn a_trunk_wants_both_its_ends() {
        let mut wanted = PortsPlan::default();
        let name: LinkName = "sl-trunk".parse().unwrap();
        let peer: LinkName = "sl-trunk-peer".parse().unwrap();
        let vlans = vec![VlanId::try_from(100).unwrap()];
        let kind = PortKind::Trunk { bridge: "br-phy".to_owned(), peer: peer.clone(), vlans };
        wanted.ports.insert(name.clone(), PortPlan { name: name.clone(), kind });
        let ports = [on("br-int", name.clone()), on("br-phy", peer.clone()), on("br-old", peer.clone())];
        assert_eq!(
            steps(&wanted, &BTreeSet::new(), &BTreeSet::new(), &ports, "br-int").remove_ports,
            [on("br-old", peer.clone())]
        );
        assert_eq!(
            steps(&PortsPlan::default(), &BTreeSet::new(), &BTreeSet::new(), &ports, "br-int")
                .remove_ports
                .len(),
            3
        );
    }
}
