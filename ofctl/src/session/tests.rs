//! Two sessions against each other in virtual time.

use super::*;
use crate::flow::FlowEntry;
use crate::wire::{
    Features, FlowModCommand, FlowStatsRequest, MultipartBody, MultipartReply, MultipartRequest, TableId,
};

/// Two ends and the time that they live in.
struct World {
    now: Instant,
    controller: Session,
    switch: Session,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let config = Config::default();
        World { now, controller: Session::new(config, now), switch: Session::new(config, now) }
    }

    fn ready() -> Self {
        let mut world = World::new();
        world.exchange(usize::MAX);
        assert_eq!(world.controller.poll_event(), Some(Event::Ready));
        assert_eq!(world.switch.poll_event(), Some(Event::Ready));
        world
    }

    /// Carries bytes both ways, in pieces of at most `piece`, until there are none.
    fn exchange(&mut self, piece: usize) {
        loop {
            let moved = Self::carry(&mut self.controller, &mut self.switch, piece, self.now)
                + Self::carry(&mut self.switch, &mut self.controller, piece, self.now);
            if moved == 0 {
                return;
            }
        }
    }

    fn carry(from: &mut Session, to: &mut Session, piece: usize, now: Instant) -> usize {
        let bytes = from.poll_transmit();
        let bytes = bytes[..bytes.len().min(piece)].to_vec();
        from.transmitted(bytes.len());
        to.receive(&bytes, now).unwrap();
        bytes.len()
    }

    fn deadline(&self) -> Instant {
        self.now + Duration::from_secs(10)
    }

    fn switch_messages(&mut self) -> Vec<(Xid, Message)> {
        std::iter::from_fn(|| self.switch.poll_event())
            .map(|event| match event {
                Event::Message { xid, message } => (xid, *message),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// Answers bundle controls, as a switch that refuses messages at these places.
    fn serve_bundle(&mut self, refuse_at_add: &[usize], refuse_commit: Option<usize>) -> Vec<&'static str> {
        let mut log = Vec::new();
        let mut adds = Vec::new();
        loop {
            self.exchange(usize::MAX);
            let messages = self.switch_messages();
            if messages.is_empty() {
                return log;
            }
            for (xid, message) in messages {
                let error =
                    |name| ErrorMessage { error: ErrorCode::from_name(name).unwrap(), data: Vec::new() };
                match message {
                    Message::BundleAdd(_) => {
                        log.push("add");
                        adds.push(xid);
                        if refuse_at_add.contains(&(adds.len() - 1)) {
                            self.switch.reply(xid, &Message::Error(error("OFPBMC_BAD_PREREQ"))).unwrap();
                        }
                    }
                    Message::BundleControl(control) => {
                        use BundleControlType::*;
                        let (kind, word) = match control.kind {
                            OpenRequest => (OpenReply, "open"),
                            CloseRequest => (CloseReply, "close"),
                            CommitRequest => (CommitReply, "commit"),
                            DiscardRequest => (DiscardReply, "discard"),
                            reply => panic!("{reply:?} from the controller"),
                        };
                        log.push(word);
                        let reply = match refuse_commit {
                            Some(place) if kind == CommitReply => {
                                let blamed = Message::Error(error("OFPFMFC_TABLE_FULL"));
                                self.switch.reply(adds[place], &blamed).unwrap();
                                Message::Error(error("OFPBFC_MSG_FAILED"))
                            }
                            _ => Message::BundleControl(BundleControl { kind, ..control }),
                        };
                        self.switch.reply(xid, &reply).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

fn flows(n: u16) -> Vec<FlowMod> {
    (0..n).map(|i| FlowMod::add(FlowEntry::new(TableId(1), i))).collect()
}

#[test]
fn nothing_but_the_hello_goes_out_before_the_handshake() {
    let mut world = World::new();
    world.controller.request(Message::FeaturesRequest, world.deadline()).unwrap();
    assert_eq!(
        Message::decode(world.controller.poll_transmit()).unwrap().1,
        Message::Hello(Hello::OPENFLOW_13)
    );
    world.exchange(1);
    assert_eq!(world.switch.poll_event(), Some(Event::Ready));
    assert!(matches!(world.switch_messages()[..], [(_, Message::FeaturesRequest)]));
}

#[test]
fn a_request_is_answered_by_its_own_number() {
    let mut world = World::ready();
    let first = world.controller.request(Message::FeaturesRequest, world.deadline()).unwrap();
    let second = world.controller.request(Message::BarrierRequest, world.deadline()).unwrap();
    world.exchange(3);
    let features = Features {
        datapath_id: 7,
        n_buffers: 0,
        n_tables: 254,
        auxiliary_id: 0,
        capabilities: 0x4f,
        reserved: 0,
    };
    let asked = world.switch_messages();
    assert_eq!(asked, [(first, Message::FeaturesRequest), (second, Message::BarrierRequest)]);
    world.switch.reply(second, &Message::BarrierReply).unwrap();
    world.switch.reply(first, &Message::FeaturesReply(features)).unwrap();
    world.exchange(5);
    let message = Box::new(Message::BarrierReply);
    assert_eq!(world.controller.poll_event(), Some(Event::Reply { xid: second, message }));
    let message = Box::new(Message::FeaturesReply(features));
    assert_eq!(world.controller.poll_event(), Some(Event::Reply { xid: first, message }));
}

#[test]
fn other_versions_are_refused_in_words() {
    let now = Instant::now();
    let mut session = Session::new(Config::default(), now);
    session.request(Message::FeaturesRequest, now + Duration::from_secs(1)).unwrap();
    session.transmitted(16);
    let mut hello = Vec::new();
    Message::Hello(Hello { version: 1, bitmap: None }).encode(Xid(9), &mut hello).unwrap();
    assert!(matches!(session.receive(&hello, now), Err(SessionError::Version(_))));
    let (xid, last_word) = Message::decode(session.poll_transmit()).unwrap();
    let Message::Error(error) = last_word else { panic!("{last_word:?}") };
    assert_eq!((xid, error.error.to_string().as_str()), (Xid(9), "OFPHFC_INCOMPATIBLE"));
}

#[test]
fn a_higher_version_with_a_bitmap_that_has_ours_is_taken() {
    let now = Instant::now();
    let mut session = Session::new(Config::default(), now);
    let mut hello = Vec::new();
    Message::Hello(Hello { version: 6, bitmap: Some(0b111_0010) }).encode(Xid(9), &mut hello).unwrap();
    session.receive(&hello, now).unwrap();
    assert!(session.is_ready());
}

#[test]
fn parts_of_a_multipart_reply_come_as_one() {
    let mut world = World::ready();
    let request = Message::MultipartRequest(MultipartRequest::Flow(FlowStatsRequest::default()));
    let xid = world.controller.request(request, world.deadline()).unwrap();
    world.exchange(usize::MAX);
    world.switch_messages();
    let stats = |priority| crate::flow::FlowStats {
        entry: FlowEntry::new(TableId(0), priority),
        duration: Duration::from_millis(1500),
        packets: 1,
        bytes: 2,
    };
    for (more, part) in [(true, vec![stats(1), stats(2)]), (true, vec![]), (false, vec![stats(3)])] {
        let part = MultipartReply { more, body: MultipartBody::Flow(part) };
        world.switch.reply(xid, &Message::MultipartReply(part)).unwrap();
    }
    world.exchange(7);
    let body = MultipartBody::Flow(vec![stats(1), stats(2), stats(3)]);
    let message = Box::new(Message::MultipartReply(MultipartReply { more: false, body }));
    assert_eq!(world.controller.poll_event(), Some(Event::Reply { xid, message }));
}

#[test]
fn an_endless_multipart_reply_is_cut_off() {
    let mut world = World::ready();
    world.controller.config.multipart_limit = 1000;
    let request = Message::MultipartRequest(MultipartRequest::Unknown { kind: 99, body: Vec::new() });
    let xid = world.controller.request(request, world.deadline()).unwrap();
    for _ in 0..3 {
        let body = MultipartBody::Unknown { kind: 99, body: vec![0; 400] };
        world.switch.reply(xid, &Message::MultipartReply(MultipartReply { more: true, body })).unwrap();
    }
    world.exchange(usize::MAX);
    let failure = Failure::TooLong(1000);
    assert_eq!(world.controller.poll_event(), Some(Event::Failed { xid, failure }));
}

#[test]
fn a_bundle_is_committed_after_all_was_taken() {
    let mut world = World::ready();
    let xid = world.controller.bundle_flows(flows(3), BundleFlags::ATOMIC_ORDERED, world.deadline()).unwrap();
    assert_eq!(world.serve_bundle(&[], None), ["open", "add", "add", "add", "close", "commit"]);
    assert_eq!(world.controller.poll_event(), Some(Event::Applied { xid }));
    assert!(world.controller.operations.is_empty());
}

#[test]
fn a_bundle_with_a_refused_message_is_discarded_and_says_which() {
    let mut world = World::ready();
    let xid = world.controller.bundle_flows(flows(3), BundleFlags::ATOMIC_ORDERED, world.deadline()).unwrap();
    assert_eq!(world.serve_bundle(&[1], None), ["open", "add", "add", "add", "close", "discard"]);
    let Some(Event::Failed { xid: failed, failure }) = world.controller.poll_event() else { panic!() };
    assert_eq!(failed, xid);
    assert_eq!(
        failure.to_string(),
        "the switch refused 'add table=1, priority=1 actions=drop': OFPBMC_BAD_PREREQ"
    );
}

#[test]
fn a_bundle_that_fails_at_the_commit_says_which_message() {
    let mut world = World::ready();
    world.controller.bundle_flows(flows(3), BundleFlags::ATOMIC_ORDERED, world.deadline()).unwrap();
    assert_eq!(world.serve_bundle(&[], Some(2)), ["open", "add", "add", "add", "close", "commit"]);
    let Some(Event::Failed { failure, .. }) = world.controller.poll_event() else { panic!() };
    assert_eq!(
        failure.to_string(),
        "the switch refused 'add table=1, priority=2 actions=drop': OFPFMFC_TABLE_FULL"
    );
}

#[test]
fn a_batch_names_the_flow_that_was_refused() {
    let mut world = World::ready();
    let messages = flows(3).into_iter().map(Message::FlowMod).collect();
    let xid = world.controller.batch(messages, world.deadline()).unwrap();
    world.exchange(usize::MAX);
    let asked = world.switch_messages();
    let (refused, Message::FlowMod(flow)) = &asked[2] else { panic!("{asked:?}") };
    assert_eq!((flow.priority, flow.command), (2, FlowModCommand::Add));
    let error = ErrorMessage { error: ErrorCode::from_name("OFPFMFC_TABLE_FULL").unwrap(), data: Vec::new() };
    world.switch.reply(*refused, &Message::Error(error)).unwrap();
    assert_eq!(asked[3].1, Message::BarrierRequest);
    world.switch.reply(asked[3].0, &Message::BarrierReply).unwrap();
    world.exchange(usize::MAX);
    let Some(Event::Failed { xid: failed, failure }) = world.controller.poll_event() else { panic!() };
    assert_eq!(failed, xid);
    assert!(failure.to_string().contains("priority=2 actions=drop': OFPFMFC_TABLE_FULL"), "{failure}");
}

#[test]
fn a_refused_request_fails() {
    let mut world = World::ready();
    let xid = world
        .controller
        .request(Message::MultipartRequest(MultipartRequest::Table), world.deadline())
        .unwrap();
    let error = ErrorMessage { error: ErrorCode::from_name("OFPBRC_BAD_STAT").unwrap(), data: Vec::new() };
    world.switch.reply(xid, &Message::Error(error)).unwrap();
    world.exchange(usize::MAX);
    let Some(Event::Failed { failure, .. }) = world.controller.poll_event() else { panic!() };
    assert_eq!(failure.to_string(), "the switch refused 'table statistics request': OFPBRC_BAD_STAT");
}

#[test]
fn silence_is_probed_and_then_ends_the_session() {
    let mut world = World::ready();
    let start = world.now;
    assert_eq!(world.controller.poll_timeout(), start + Duration::from_secs(5));
    world.now = start + Duration::from_secs(5);
    world.controller.handle_timeout(world.now).unwrap();
    assert!(matches!(Message::decode(world.controller.poll_transmit()), Ok((_, Message::EchoRequest(_)))));
    // The switch answers by itself, and the probing begins anew.
    world.exchange(usize::MAX);
    assert_eq!(world.controller.poll_timeout(), world.now + Duration::from_secs(5));
    // Now it does not answer.
    world.controller.handle_timeout(start + Duration::from_secs(10)).unwrap();
    let end = world.controller.poll_timeout();
    assert_eq!(end, world.now + Duration::from_secs(30));
    assert_eq!(world.controller.handle_timeout(end), Err(SessionError::Silent(Duration::from_secs(30))));
}

#[test]
fn a_handshake_without_an_answer_ends() {
    let mut world = World::new();
    let end = world.controller.poll_timeout();
    assert_eq!(end, world.now + Duration::from_secs(5));
    assert_eq!(world.controller.handle_timeout(end), Err(SessionError::HandshakeTimeout));
}

#[test]
fn a_bundle_that_takes_too_long_is_discarded() {
    let mut world = World::ready();
    let deadline = world.now + Duration::from_secs(1);
    let xid = world.controller.bundle_flows(flows(2), BundleFlags::ATOMIC_ORDERED, deadline).unwrap();
    world.exchange(usize::MAX);
    world.switch_messages();
    assert_eq!(world.controller.poll_timeout(), deadline);
    world.controller.handle_timeout(deadline).unwrap();
    assert_eq!(world.controller.poll_event(), Some(Event::Failed { xid, failure: Failure::TimedOut }));
    world.exchange(usize::MAX);
    let asked = world.switch_messages();
    assert!(
        matches!(&asked[..], [(_, Message::BundleControl(c))] if c.kind == BundleControlType::DiscardRequest),
        "{asked:?}"
    );
}

#[test]
fn an_unreadable_answer_fails_its_request_alone() {
    let mut world = World::ready();
    let first = world.controller.request(Message::FeaturesRequest, world.deadline()).unwrap();
    let second = world.controller.request(Message::BarrierRequest, world.deadline()).unwrap();
    world.switch.reply(first, &Message::Unknown { kind: 6, body: vec![1, 2, 3] }).unwrap();
    world.switch.reply(second, &Message::BarrierReply).unwrap();
    world.exchange(usize::MAX);
    assert!(matches!(
        world.controller.poll_event(),
        Some(Event::Failed { xid, failure: Failure::Undecodable(_) }) if xid == first
    ));
    assert!(matches!(world.controller.poll_event(), Some(Event::Reply { xid, .. }) if xid == second));
}

#[test]
fn a_length_shorter_than_a_header_ends_the_session() {
    let mut world = World::ready();
    let result = world.controller.receive(&[4, 2, 0, 7, 0, 0, 0, 1], world.now);
    assert!(matches!(result, Err(SessionError::Framing(_))));
}

#[test]
fn transaction_numbers_begin_anew_before_they_overflow() {
    let mut world = World::ready();
    world.controller.next_xid = u32::MAX - 2;
    let xid = world.controller.bundle_flows(flows(3), BundleFlags::ATOMIC_ORDERED, world.deadline()).unwrap();
    assert_eq!(xid, Xid(1));
    world.serve_bundle(&[], None);
    assert_eq!(world.controller.poll_event(), Some(Event::Applied { xid }));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_bytes_and_the_session_lives_on() {
    let mut world = World::ready();
    // A packet-in cut short.
    let mut bytes = vec![4, 10, 0, 20, 0, 0, 0, 99];
    bytes.resize(20, 0);
    world.controller.receive(&bytes, world.now).unwrap();
    assert!(matches!(world.controller.poll_event(), Some(Event::Undecodable(_))));
    world.exchange(usize::MAX);
    let Some(Event::StrayError { xid, error }) = world.switch.poll_event() else {
        panic!("it should have been refused")
    };
    assert_eq!((xid, error.error.name(), error.data), (Xid(99), Some("OFPBRC_BAD_LEN"), bytes));

    // An error that cannot be read is not answered, or the two would never stop.
    world.controller.receive(&[4, 1, 0, 9, 0, 0, 0, 5, 0], world.now).unwrap();
    assert!(matches!(world.controller.poll_event(), Some(Event::Undecodable(_))));
    assert!(world.controller.poll_transmit().is_empty());

    let xid = world.controller.request(Message::BarrierRequest, world.deadline()).unwrap();
    world.exchange(usize::MAX);
    assert_eq!(world.switch_messages(), [(xid, Message::BarrierRequest)]);
}
