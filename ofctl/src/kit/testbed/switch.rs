//! A switch of the testbed.

use std::time::Duration;

use crate::flow::FlowStats;
use crate::kit::DatapathId;
use crate::sim::{Packet, Switch, Verdict};
use crate::wire::{Features, FlowStatsRequest, Message, OfPort, PortDescription};

/// What came of a frame or a message.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) frames: Vec<(OfPort, Vec<u8>)>,
    pub(super) messages: Vec<Message>,
}

#[derive(Debug)]
pub(super) struct Node {
    switch: Switch,
}

impl Node {
    pub(super) fn new(id: DatapathId, ports: impl IntoIterator<Item = OfPort>) -> Self {
        Node { switch: Switch::new().with_datapath_id(id.0).with_ports(ports) }
    }

    pub(super) fn features(&mut self) -> Features {
        match self.switch.handle(Message::FeaturesRequest).pop() {
            Some(Message::FeaturesReply(features)) => features,
            other => unreachable!("a switch tells its features: {other:?}"),
        }
    }

    pub(super) fn ports(&self) -> Vec<PortDescription> {
        self.switch.ports().cloned().collect()
    }

    pub(super) fn has_port(&self, port: OfPort) -> bool {
        self.switch.ports().any(|known| known.port == port)
    }

    pub(super) fn set_link(&mut self, port: OfPort, up: bool, now: Duration) -> Vec<Message> {
        let mut messages = self.switch.advance(now);
        messages.extend(self.switch.set_link(port, up));
        messages
    }

    pub(super) fn flows(&self) -> Vec<FlowStats> {
        self.switch.flows(&FlowStatsRequest::default())
    }

    pub(super) fn receive(&mut self, port: OfPort, frame: &[u8], now: Duration) -> (Outcome, Verdict) {
        let reception = self.switch.receive_packet(Packet::new(port, frame), now);
        let frames = frames(&reception.verdict);
        (Outcome { frames, messages: reception.messages }, reception.verdict)
    }

    pub(super) fn expire(&mut self, now: Duration) -> Outcome {
        Outcome { frames: Vec::new(), messages: self.switch.advance(now) }
    }

    pub(super) fn handle(&mut self, message: Message, now: Duration) -> Outcome {
        let mut messages = self.switch.advance(now);
        messages.extend(self.switch.handle(message));
        Outcome { frames: self.switch.take_sent().iter().flat_map(frames).collect(), messages }
    }
}

fn frames(verdict: &Verdict) -> Vec<(OfPort, Vec<u8>)> {
    verdict.outputs.iter().map(|output| (output.port, output.frame.clone())).collect()
}
