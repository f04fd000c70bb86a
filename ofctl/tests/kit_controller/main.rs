//! The controller over sockets, with switches that this test plays.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;
mod malformed;
mod secured;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::Fake;
use ofctl::client::controller::{Controller, Options};
use ofctl::client::{Listen, Target};
use ofctl::kit::{Application, DatapathId, Effects, Event, Timer};
use ofctl::wire::{
    Cookie, Field, FragmentMode, Match, Message, NO_BUFFER, OfPort, PacketIn, PacketOut, Role, RoleRequest,
    SwitchConfig, TableId,
};
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// Answers each packet with itself, tells of all events but packets, and has a timer.
struct Echo {
    ticks: u32,
}

const TICK: Timer = Timer::new("echo: tick");

impl Application for Echo {
    type Notice = String;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<String> {
        match event {
            Event::Start => {
                let mut effects = Effects::notice("start".to_owned());
                effects.set_timer(TICK, Duration::from_millis(20));
                // The second setting counts alone.
                effects.set_timer(TICK, Duration::from_millis(10));
                effects.set_timer(Timer::new("echo: never"), Duration::from_millis(5));
                effects.stop_timer(Timer::new("echo: never"));
                effects
            }
            Event::Timer(timer) => {
                assert_eq!(*timer, TICK);
                assert!(now >= Duration::from_millis(10), "{now:?}");
                self.ticks += 1;
                Effects::none()
            }
            Event::PacketIn(switch, packet) => Effects::send(*switch, packet.resend([])),
            Event::SwitchUp(switch, _) => Effects::notice(format!("up {}", switch.0)),
            Event::SwitchGone(switch) => Effects::notice(format!("gone {}", switch.0)),
            Event::Message(switch, message) => Effects::notice(format!("{} {message:?}", switch.0)),
            other => Effects::notice(format!("{other:?}")),
        }
    }
}

/// A controller, and what it noticed.
struct Running {
    controller: Controller<Echo>,
    notices: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

impl Running {
    fn start(options: Options) -> Running {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = notices.clone();
        let observer = move |notice| kept.lock().unwrap().push(notice);
        let controller = Controller::observed(Echo { ticks: 0 }, options, observer);
        Running { controller, notices, folder: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("controller.sock")
    }

    async fn listen(&self) {
        assert_eq!(self.controller.listen(Listen::Unix(self.socket())).await.unwrap(), None);
    }

    async fn fake(&self, number: u64) -> Fake<UnixStream> {
        Fake::new(number, UnixStream::connect(self.socket()).await.unwrap())
    }

    /// Waits until it has noticed this.
    async fn noticed(&self, wanted: &str) {
        let seen = async {
            while !self.notices.lock().unwrap().iter().any(|notice| notice.contains(wanted)) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), seen).await;
        in_time.unwrap_or_else(|_| panic!("no '{wanted}' in {:?}", self.notices.lock().unwrap()));
    }
}

fn packet(number: u32) -> PacketIn {
    PacketIn {
        buffer_id: NO_BUFFER,
        total_len: 4,
        reason: 1,
        table: TableId(0),
        cookie: Cookie(0),
        matching: Match::new().with(Field::InPort, OfPort(1)),
        data: number.to_be_bytes().to_vec(),
    }
}

fn answers(told: &[Message]) -> Vec<u32> {
    let numbers = told.iter().filter_map(|message| match message {
        Message::PacketOut(PacketOut { data, .. }) => Some(u32::from_be_bytes(*data.first_chunk()?)),
        _ => None,
    });
    numbers.collect()
}

fn quick() -> Options {
    Options {
        backoff_first: Duration::from_millis(5),
        backoff_most: Duration::from_millis(20),
        ..Options::default()
    }
}

#[tokio::test]
async fn packets_are_answered_in_order_for_each_switch() {
    let running = Running::start(quick());
    running.listen().await;
    let mut fakes = [running.fake(1).await, running.fake(2).await, running.fake(3).await];
    for fake in &mut fakes {
        // Packets wait for this, and fragments are left as they were.
        let config =
            Message::SetConfig(SwitchConfig { fragments: FragmentMode::NxMatch, miss_send_len: 65535 });
        assert!(fake.live(|told| !told.is_empty()).await);
        assert_eq!(fake.told, [config]);
    }
    for round in 0..10 {
        for fake in &mut fakes {
            for number in 0..100 {
                fake.session.send(&Message::PacketIn(packet(round * 100 + number))).unwrap();
            }
            fake.flush().await;
        }
    }
    for fake in &mut fakes {
        assert!(fake.live(|told| answers(told).len() == 1000).await);
        assert_eq!(answers(&fake.told), Vec::from_iter(0..1000));
    }
    assert_eq!(running.controller.switches().await.unwrap().len(), 3);
    tokio::time::sleep(Duration::from_millis(40)).await;
    let application = running.controller.stop().await.unwrap();
    assert_eq!(application.ticks, 1);
    for fake in &mut fakes {
        assert!(!fake.live(|_| false).await, "the connection should have ended");
    }
}

#[tokio::test]
async fn a_switch_that_hangs_up_is_dialled_again() {
    let running = Running::start(quick());
    let path = running.folder.path().join("switch.sock");
    running.controller.connect(Target::Unix(path.clone())).await.unwrap();
    // Nobody is there for a while.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let listener = UnixListener::bind(&path).unwrap();
    for _ in 0..3 {
        let mut fake = Fake::new(7, listener.accept().await.unwrap().0);
        assert!(fake.live(|told| !told.is_empty()).await);
        running.noticed("up 7").await;
        running.notices.lock().unwrap().clear();
        drop(fake);
        running.noticed("gone 7").await;
    }
}

#[tokio::test]
async fn a_switch_that_comes_back_takes_the_place_of_its_old_connection() {
    let running = Running::start(quick());
    running.listen().await;
    let mut old = running.fake(7).await;
    assert!(old.live(|told| !told.is_empty()).await);
    let mut new = running.fake(7).await;
    assert!(new.live(|told| !told.is_empty()).await);
    assert!(!old.live(|_| false).await, "the old connection should have ended");
    new.say(&Message::PacketIn(packet(5))).await;
    assert!(new.live(|told| answers(told) == [5]).await);
    let notices = running.notices.lock().unwrap().clone();
    assert_eq!(notices, ["start", "up 7", "gone 7", "up 7"]);
}

#[tokio::test]
async fn roles_are_asked_for_at_once_and_of_switches_to_come() {
    let first = RoleRequest { role: Role::Secondary, generation: 1 };
    let running = Running::start(Options { role: Some(first), ..quick() });
    running.listen().await;
    let mut one = running.fake(1).await;
    assert!(one.live(|told| told.contains(&Message::RoleRequest(first))).await);
    running.noticed("up 1").await;
    running.controller.set_role(Role::Primary, 2).await.unwrap();
    let second = RoleRequest { role: Role::Primary, generation: 2 };
    assert!(one.live(|told| told.contains(&Message::RoleRequest(second))).await);
    one.say(&Message::RoleReply(second)).await;
    running.noticed("1 RoleReply").await;
    let mut two = running.fake(2).await;
    assert!(two.live(|told| told.contains(&Message::RoleRequest(second))).await);
    assert!(!two.told.contains(&Message::RoleRequest(first)));
}

#[tokio::test]
async fn a_silent_switch_is_found_out() {
    let session = ofctl::session::Config {
        echo_interval: Duration::from_millis(20),
        silence_limit: Duration::from_millis(60),
        ..Default::default()
    };
    let running = Running::start(Options { session, ..quick() });
    running.listen().await;
    let mut fake = running.fake(1).await;
    assert!(fake.live(|told| !told.is_empty()).await);
    running.noticed("up 1").await;
    // It answers echo requests as long as it lives.
    let alive = tokio::time::timeout(Duration::from_millis(300), fake.live(|_| false)).await;
    assert!(alive.is_err(), "it was given up though it answered");
    running.noticed("gone 1").await;
}

#[tokio::test]
async fn a_switch_that_takes_nothing_loses_its_packets_and_nobody_elses() {
    let running = Running::start(Options { unsent_soft: 100_000, ..quick() });
    running.listen().await;
    let (mut deaf, mut good) = (running.fake(1).await, running.fake(2).await);
    for fake in [&mut deaf, &mut good] {
        assert!(fake.live(|told| !told.is_empty()).await);
    }
    // It sends without end and reads nothing.
    let large = PacketIn { data: vec![0; 1400], ..packet(0) };
    for _ in 0..2000 {
        deaf.say(&Message::PacketIn(large.clone())).await;
    }
    good.say(&Message::PacketIn(packet(9))).await;
    assert!(good.live(|told| answers(told) == [9]).await);
    let dropped = async {
        loop {
            let switches = running.controller.switches().await.unwrap();
            let dropped = switches.iter().find(|status| status.switch == DatapathId(1)).unwrap().dropped;
            if dropped > 0 {
                return dropped;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let dropped = tokio::time::timeout(Duration::from_secs(10), dropped).await.unwrap();
    assert!(dropped < 2000, "some of them fit into the sockets' buffers");
    // It reads again, and is answered again.
    deaf.say(&Message::PacketIn(packet(11))).await;
    assert!(deaf.live(|told| !told.is_empty()).await);
}

#[tokio::test]
async fn a_switch_that_takes_nothing_at_all_is_given_up_at_the_limit() {
    let running = Running::start(Options { unsent_limit: 1 << 20, ..quick() });
    running.listen().await;
    let mut fake = running.fake(1).await;
    assert!(fake.live(|told| !told.is_empty()).await);
    running.noticed("up 1").await;
    let flood = |_: &mut Echo| -> Effects {
        let out = PacketOut::new(OfPort::CONTROLLER, Vec::new(), vec![0; 1400]);
        Effects::send_all(DatapathId(1), vec![out; 3000])
    };
    running.controller.command(flood).await.unwrap();
    running.noticed("gone 1").await;
}

#[tokio::test]
async fn tcp_is_listened_on_and_dialled() {
    let running = Running::start(quick());
    let place = Listen::parse("ptcp:0:127.0.0.1", None).unwrap();
    let address = running.controller.listen(place).await.unwrap().unwrap();
    let mut fake = Fake::new(1, TcpStream::connect(address).await.unwrap());
    assert!(fake.live(|told| !told.is_empty()).await);
    running.noticed("up 1").await;
    let taken = Listen::Tcp(address);
    let error = running.controller.listen(taken).await.unwrap_err().to_string();
    assert!(error.contains(&format!("ptcp:{}:127.0.0.1", address.port())), "{error}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    running.controller.connect(Target::Tcp("localhost".to_owned(), port)).await.unwrap();
    let mut fake = Fake::new(2, listener.accept().await.unwrap().0);
    assert!(fake.live(|told| !told.is_empty()).await);
    running.noticed("up 2").await;
}

#[tokio::test]
async fn a_socket_file_is_taken_over_only_from_the_dead() {
    let running = Running::start(quick());
    running.listen().await;
    let again = Listen::Unix(running.socket());
    let error = running.controller.listen(again.clone()).await.unwrap_err().to_string();
    assert!(error.contains("somebody else listens there"), "{error}");
    let Running { controller, folder, .. } = running;
    controller.stop().await.unwrap();
    assert!(!folder.path().join("controller.sock").exists());
    // One that was killed leaves its file.
    drop(UnixListener::bind(folder.path().join("stale.sock")).unwrap());
    std::fs::write(folder.path().join("file"), "precious").unwrap();
    let controller = Controller::start(Echo { ticks: 0 }, quick());
    controller.listen(Listen::Unix(folder.path().join("stale.sock"))).await.unwrap();
    controller.listen(Listen::Unix(folder.path().join("file"))).await.unwrap_err();
    assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"precious");
}

#[tokio::test]
async fn an_application_that_panics_ends_its_controller_and_that_is_told() {
    struct Clumsy;
    impl Application for Clumsy {
        type Notice = ();
        fn handle(&mut self, _now: Duration, event: &Event) -> Effects {
            assert!(*event == Event::Start, "on purpose");
            let mut effects = Effects::none();
            effects.set_timer(TICK, Duration::from_millis(1));
            effects
        }
    }
    let controller = Controller::start(Clumsy, quick());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(controller.inspect(|_| ()).await.is_err());
    assert!(controller.stop().await.is_err());
}

#[tokio::test]
async fn single_connections_are_listened_for_too() {
    use ofctl::client::openflow;
    let place = Listen::parse("ptcp:0:127.0.0.1", None).unwrap();
    let listener = openflow::Listener::bind(&place).await.unwrap();
    let address = listener.address().unwrap();
    // One that says nothing does not keep the next one waiting.
    let _silent = TcpStream::connect(address).await.unwrap();
    let _silent = listener.accept().await.unwrap();
    let mut fake = Fake::new(5, TcpStream::connect(address).await.unwrap());
    let switch = tokio::spawn(async move { fake.live(|_| false).await });
    let arrival = listener.accept().await.unwrap();
    assert!(arrival.peer().starts_with("tcp:127.0.0.1:"), "{}", arrival.peer());
    let (connection, _events) = arrival.connection(openflow::Options::default()).await.unwrap();
    assert_eq!(connection.features().await.unwrap().datapath_id, 5);
    drop(connection);
    assert!(!switch.await.unwrap(), "it should have heard the end of the connection");
}
