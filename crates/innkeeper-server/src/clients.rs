//! How fast each client may start rooms: a rate for each address, and no more addresses than a
//! bound.

use std::collections::HashMap;
use std::net::IpAddr;

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
