//! How long much work takes: in proportion to how much it is, or nearly.

use std::time::{Duration, Instant};

use ofctl::flow::FlowEntry;
use ofctl::kit::testbed::Testbed;
use ofctl::kit::{Application, Effects, Event};
use ofctl::wire::{Field, FlowMod, Match, TableId};

/// Adds so many flows to each switch at once, as a firewall does whose ranges of ports become masks.
struct Filler {
    flows: u32,
}

impl Application for Filler {
    type Notice = ();

    fn handle(&mut self, _: Duration, event: &Event) -> Effects<()> {
        let Event::SwitchUp(switch, _) = event else { return Effects::none() };
        let flow = |n: u32| {
            // As many masks as two prefixes of a port make, 256.
            let mask = |bits: u32| u16::MAX << (bits % 16);
            let (src, dst) = (mask(n), mask(n / 16));
            let tcp = Match::new().with(Field::EthType, 0x0800u16).with(Field::IpProto, 6u8);
            let matching = tcp.with(Field::Ipv4Src, n).masked(Field::TcpSrc, 40000 & src, src).masked(
                Field::TcpDst,
                8080 & dst,
                dst,
            );
            FlowMod::add(FlowEntry::new(TableId(0), (n % 500) as u16).matching(matching))
        };
        Effects::send_all(*switch, (0..self.flows).map(flow))
    }
}

/// How long it takes until the flows are there.
fn fill(flows: u32) -> Duration {
    let begun = Instant::now();
    let mut bed = Testbed::new(Filler { flows });
    let switch = bed.switch(1, 4);
    bed.run_for(Duration::from_millis(10));
    assert_eq!((bed.flows(switch).len(), bed.errors().len()), (flows as usize, 0));
    begun.elapsed()
}

#[test]
fn four_times_the_flows_take_less_than_ten_times_as_long() {
    const FEW: u32 = 3_500;
    // The best of some: the machine may have other things to do.
    let best = |flows| (0..3).map(|_| fill(flows)).min().unwrap_or_default();
    let (few, many) = (best(FEW), best(4 * FEW));
    println!("{FEW} flow-mods in {few:?}, {} in {many:?}", 4 * FEW);
    assert!(many < few * 10, "{FEW} flow-mods took {few:?}, and {} took {many:?}", 4 * FEW);
}
