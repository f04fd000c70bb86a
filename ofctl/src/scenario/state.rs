//! Steps about what a switch holds besides flows, what it has counted, and what the application says of itself.

use super::run::{Run, Unmet, World, missing};
use super::step::{Amount, Counter, Volume};
use crate::wire::versions::GroupMod;
use crate::wire::{
    Counters, GroupDescription, GroupId, GroupStats, MeterConfig, MeterId, MeterMod, MeterStats,
    MultipartBody, MultipartRequest, OfPort, PortStats,
};

impl<W: World> Run<'_, W> {
    fn ask(&mut self, switch: Option<&str>, request: MultipartRequest) -> Result<MultipartBody, Unmet> {
        self.acting = false;
        let switch = self.switch(switch)?;
        Ok(self.world.ask(&switch, request)?)
    }

    fn groups(&mut self, switch: Option<&str>) -> Result<Vec<GroupDescription>, Unmet> {
        match self.ask(switch, MultipartRequest::GroupDescription)? {
            MultipartBody::GroupDescription(groups) => Ok(groups),
            other => Err(strange(&other)),
        }
    }

    pub(super) fn group_exists(&mut self, switch: Option<&str>, group: &GroupMod) -> Result<(), Unmet> {
        let wanted = GroupDescription {
            kind: group.kind,
            group: group.group,
            buckets: group.buckets.iter().map(|bucket| bucket.bucket.clone()).collect(),
        };
        let groups = self.groups(switch)?;
        match groups.iter().find(|known| known.group == wanted.group) {
            Some(known) if *known == wanted => Ok(()),
            Some(known) => Err(Unmet("it does something else:".to_owned(), vec![known.to_string()])),
            None => {
                let others = groups.iter().map(ToString::to_string).collect();
                Err(Unmet(format!("there is no group {}", wanted.group), others))
            }
        }
    }

    pub(super) fn no_group(&mut self, switch: Option<&str>, group: GroupId) -> Result<(), Unmet> {
        match self.groups(switch)?.iter().find(|known| known.group == group) {
            Some(known) => Err(Unmet("it exists:".to_owned(), vec![known.to_string()])),
            None => Ok(()),
        }
    }

    fn meters(&mut self, switch: Option<&str>) -> Result<Vec<MeterConfig>, Unmet> {
        match self.ask(switch, MultipartRequest::MeterConfig(MeterId::ALL))? {
            MultipartBody::MeterConfig(meters) => Ok(meters),
            other => Err(strange(&other)),
        }
    }

    pub(super) fn meter_exists(&mut self, switch: Option<&str>, wanted: &MeterMod) -> Result<(), Unmet> {
        let meters = self.meters(switch)?;
        match meters.iter().find(|known| known.meter == wanted.meter) {
            // A band without a burst is given one by the switch.
            Some(known)
                if known.flags == wanted.flags
                    && known.bands.len() == wanted.bands.len()
                    && known.bands.iter().zip(&wanted.bands).all(|(known, wanted)| {
                        (known.kind, known.rate) == (wanted.kind, wanted.rate)
                            && (wanted.burst_size == 0 || known.burst_size == wanted.burst_size)
                    }) =>
            {
                Ok(())
            }
            Some(known) => Err(Unmet("it does something else:".to_owned(), vec![known.to_string()])),
            None => {
                let others = meters.iter().map(ToString::to_string).collect();
                Err(Unmet(format!("there is no meter {}", wanted.meter), others))
            }
        }
    }

    pub(super) fn no_meter(&mut self, switch: Option<&str>, meter: MeterId) -> Result<(), Unmet> {
        match self.meters(switch)?.iter().find(|known| known.meter == meter) {
            Some(known) => Err(Unmet("it exists:".to_owned(), vec![known.to_string()])),
            None => Ok(()),
        }
    }

    pub(super) fn counted(
        &mut self,
        switch: Option<&str>,
        counter: &Counter,
        volume: Volume,
    ) -> Result<(), Unmet> {
        self.acting = false;
        let (packets, bytes) = self.read(switch, counter)?;
        let fits = |wanted: Option<Amount>, number| wanted.is_none_or(|wanted| wanted.takes(number));
        if fits(volume.packets, packets) && fits(volume.bytes, bytes) {
            return Ok(());
        }
        let verb = match counter {
            Counter::MeterDrops(_) => "dropped",
            Counter::Received(_) => "received",
            Counter::Sent(_) => "sent",
            _ => "counted",
        };
        let and_bytes = volume.bytes.map_or(String::new(), |_| format!(" and {bytes} bytes"));
        Err(format!("it has {verb} {packets} packets{and_bytes}").into())
    }

    /// Packets and bytes.
    fn read(&mut self, switch: Option<&str>, counter: &Counter) -> Result<(u64, u64), Unmet> {
        let both = |counters: &Counters| (counters.packets, counters.bytes);
        Ok(match *counter {
            Counter::Flow(ref key) => {
                let found = self.find(switch, key)?.map_err(|near| missing(key, near))?;
                (found.packets, found.bytes)
            }
            Counter::Group(group) => both(&self.group_stats(switch, group)?.counters),
            Counter::Bucket(group, place) => {
                let buckets = self.group_stats(switch, group)?.buckets;
                let count = buckets.len();
                both(
                    buckets
                        .get(place)
                        .ok_or_else(|| format!("group {group} has {count} buckets, from 0 on"))?,
                )
            }
            Counter::Meter(meter) => both(&self.meter_stats(switch, meter)?.input),
            Counter::MeterDrops(meter) => {
                let bands = self.meter_stats(switch, meter)?.bands;
                let sum = |part: fn(&Counters) -> u64| bands.iter().map(part).sum();
                (sum(|band| band.packets), sum(|band| band.bytes))
            }
            Counter::Received(port) => {
                let stats = self.port_stats(switch, port)?;
                (stats.rx_packets, stats.rx_bytes)
            }
            Counter::Sent(port) => {
                let stats = self.port_stats(switch, port)?;
                (stats.tx_packets, stats.tx_bytes)
            }
        })
    }

    fn group_stats(&mut self, switch: Option<&str>, group: GroupId) -> Result<GroupStats, Unmet> {
        match self.ask(switch, MultipartRequest::GroupStats(GroupId::ALL))? {
            MultipartBody::GroupStats(groups) => groups
                .into_iter()
                .find(|known| known.group == group)
                .ok_or_else(|| format!("there is no group {group}").into()),
            other => Err(strange(&other)),
        }
    }

    fn meter_stats(&mut self, switch: Option<&str>, meter: MeterId) -> Result<MeterStats, Unmet> {
        match self.ask(switch, MultipartRequest::MeterStats(MeterId::ALL))? {
            MultipartBody::MeterStats(meters) => meters
                .into_iter()
                .find(|known| known.meter == meter)
                .ok_or_else(|| format!("there is no meter {meter}").into()),
            other => Err(strange(&other)),
        }
    }

    fn port_stats(&mut self, switch: Option<&str>, port: OfPort) -> Result<PortStats, Unmet> {
        self.known(switch, &[port])?;
        match self.ask(switch, MultipartRequest::PortStats(port))? {
            MultipartBody::PortStats(ports) => ports
                .into_iter()
                .find(|known| known.port == port)
                .ok_or_else(|| format!("port {port} has no counters").into()),
            other => Err(strange(&other)),
        }
    }

    pub(super) fn reports(&mut self, line: &str, is_there: bool) -> Result<(), Unmet> {
        self.acting = false;
        let lines = self.world.report()?;
        match lines.iter().any(|known| known == line) == is_there {
            true => Ok(()),
            false if lines.is_empty() => Err("it reports nothing".into()),
            false => Err(Unmet("it reports:".to_owned(), lines)),
        }
    }
}

fn strange(answer: &MultipartBody) -> Unmet {
    format!("the switch answers something else: {answer:?}").into()
}
