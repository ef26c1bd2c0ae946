//! How fast each client may start rooms, and how many connections it may have.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use innkeeper::StartRate;
use parking_lot::Mutex;

use crate::limits;

/// The rates of the clients that started something lately.
pub(crate) struct Clients {
    /// `None`: clients are not limited.
    rates: Option<Rates>,
}

struct Rates {
    per_second: u32,
    by_address: Mutex<HashMap<IpAddr, StartRate>>,
    /// Shared by those for whom there is no room.
    others: StartRate,
}

impl Clients {
    pub(crate) fn new(per_second: u32) -> Self {
        let rates = StartRate::per_second(per_second).map(|others| Rates {
            per_second,
            by_address: Mutex::default(),
            others,
        });
        Clients { rates }
    }

    /// The rate that the starts of a client count against.
    pub(crate) fn rate(&self, address: IpAddr) -> Option<StartRate> {
        let rates = self.rates.as_ref()?;
        let address = network(address);
        let mut by_address = rates.by_address.lock();
        if let Some(rate) = by_address.get(&address) {
            return Some(rate.clone());
        }
        if by_address.len() >= limits::CLIENTS {
            // Whoever has not started anything for a while is as good as new.
            by_address.retain(|_, rate| !rate.is_unused());
        }
        if by_address.len() >= limits::CLIENTS {
            return Some(rates.others.clone());
        }
        let rate = StartRate::per_second(rates.per_second)?;
        by_address.insert(address, rate.clone());
        Some(rate)
    }
}

/// The connections that each client address has open.
pub(crate) struct Addresses {
    /// 0: any number.
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection of an address, until it is dropped.
pub(crate) struct Place {
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Addresses {
    pub(crate) fn new(most: usize) -> Self {
        Addresses { most, open: Arc::default() }
    }

    /// Counts one more; `None` if there are as many as may be.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { address, open: self.open.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Entry::Occupied(mut entry) = open.entry(self.address) {
            *entry.get_mut() -= 1;
            // Whoever has none is not remembered.
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 network that one IPv6 host has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_is_one_client_whatever_address_it_takes() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"]
            .map(|text| network(text.parse().unwrap()));
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_eq!(
            network("::ffff:10.0.0.1".parse().unwrap()),
            "10.0.0.1".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn an_address_has_so_many_connections_and_leaves_nothing_behind() {
        let addresses = Addresses::new(2);
        let [a, b]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let (first, second) = (addresses.enter(a), addresses.enter(a));
        assert!(first.is_some() && second.is_some() && addresses.enter(a).is_none());
        assert!(addresses.enter(b).is_some());
        drop(first);
        assert!(addresses.enter(a).is_some());
        drop(second);
        assert!(addresses.open.lock().is_empty());
        let any = Addresses::new(0);
        let all: Vec<_> = (0..100).map(|_| any.enter(a)).collect();
        assert!(all.iter().all(Option::is_some));
    }

    #[test]
    fn no_more_addresses_are_remembered_than_the_bound() {
        let clients = Clients::new(1);
        for n in 0..=limits::CLIENTS as u32 {
            // All in use, so none can be forgotten.
            let rate = clients.rate(IpAddr::V4((0x0a00_0000 + n).into()));
            assert!(rate.is_some());
        }
        assert!(clients.rates.unwrap().by_address.lock().len() <= limits::CLIENTS);
    }
}
