//! The requests to one member, and what its answers mean.

use etcd_client::{Compare, CompareOp, Error, GetOptions, KeyValue, Txn, TxnOp};
use innkeeper_cluster::coordinator::{
    Change, Committed, Comparison, CoordinatorError, Entry, Listing, Revision, Transaction,
};

use crate::hedge::Outcome;
use crate::member::{Member, Refused, describe};

/// How many entries one answer has: far below what fits into a message.
const PAGE: i64 = 1_000;

/// The codes of gRPC by which a server says that it has done nothing.
const NOT_DONE: [i32; 8] = [
    3,  // invalid argument
    5,  // not found
    7,  // permission denied
    8,  // resource exhausted: no space
    9,  // failed precondition
    11, // out of range
    12, // unimplemented
    16, // unauthenticated
];

/// What etcd says when it has as much as it may keep, or has had: it takes no more until somebody
/// has ended the alarm.
const NO_SPACE: &str = "database space exceeded";

/// The outcome, and which etcd it came from.
pub(crate) async fn commit(
    member: &Member,
    root: &str,
    transaction: &Transaction,
) -> Outcome<(Committed, u64)> {
    let client = match member.client().await {
        Ok(client) => client,
        Err(refused) => return Outcome::NotDone(unused(member, refused)),
    };
    let compares: Vec<_> = transaction.compares.iter().map(|it| compare(root, it)).collect();
    let writes: Vec<_> = transaction.writes.iter().map(|it| write(root, it)).collect();
    match client.kv_client().txn(Txn::new().when(compares).and_then(writes)).await {
        Ok(answer) => {
            let (revision, cluster) =
                answer.header().map_or((0, 0), |it| (number(it.revision()), it.cluster_id()));
            let committed = Committed { done: answer.succeeded(), revision };
            if committed.done {
                Outcome::Done((committed, cluster))
            } else {
                Outcome::Refused((committed, cluster))
            }
        }
        Err(error) => failed(member, &error),
    }
}

/// All entries as of the revision of the first answer, and which etcd they came from.
pub(crate) async fn list(member: &Member, root: &str, prefix: &str) -> Outcome<(Listing, u64)> {
    let client = match member.client().await {
        Ok(client) => client,
        Err(refused) => return Outcome::NotDone(unused(member, refused)),
    };
    let (mut listing, mut cluster) = (Listing::default(), 0);
    let prefix = format!("{root}{prefix}");
    let (mut from, end) = (prefix.as_bytes().to_vec(), end_of(&prefix));
    loop {
        let mut options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
        if listing.revision > 0 {
            options = options.with_revision(signed(listing.revision));
        }
        let answer = match client.kv_client().get(from, Some(options)).await {
            Ok(answer) => answer,
            Err(error) => return failed(member, &error),
        };
        if let Some(header) = answer.header()
            && listing.revision == 0
        {
            (listing.revision, cluster) = (number(header.revision()), header.cluster_id());
        }
        listing.entries.extend(answer.kvs().iter().filter_map(|kv| entry(root, kv, false)));
        let Some(last) = answer.kvs().last().filter(|_| answer.more()) else {
            return Outcome::Done((listing, cluster));
        };
        // The next key there can be.
        from = last.key().to_vec();
        from.push(0);
    }
}

/// A key of the store as an entry. Keys that are no text, or begin otherwise, are not ours.
pub(crate) fn entry(root: &str, kv: &KeyValue, is_deleted: bool) -> Option<Entry> {
    let key = std::str::from_utf8(kv.key()).ok()?.strip_prefix(root)?.to_owned();
    let (created, modified) = (number(kv.create_revision()), number(kv.mod_revision()));
    let value = (!is_deleted).then(|| kv.value().to_vec());
    Some(Entry { key, value, created: if is_deleted { 0 } else { created }, modified })
}

fn compare(root: &str, comparison: &Comparison) -> Compare {
    let of = |key: &String| format!("{root}{key}");
    match comparison {
        Comparison::Created(key, at) => {
            Compare::create_revision(of(key), CompareOp::Equal, signed(*at))
        }
        Comparison::Modified(key, at) => {
            Compare::mod_revision(of(key), CompareOp::Equal, signed(*at))
        }
        Comparison::Value(key, value) => Compare::value(of(key), CompareOp::Equal, value.clone()),
    }
}

fn write(root: &str, change: &Change) -> TxnOp {
    match change {
        Change::Put(key, value) => TxnOp::put(format!("{root}{key}"), value.clone(), None),
        Change::Delete(key) => TxnOp::delete(format!("{root}{key}"), None),
    }
}

/// The first key after all that begin with a prefix; a zero byte stands for none.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

pub(crate) fn unused(member: &Member, refused: Refused) -> CoordinatorError {
    let why = match refused {
        Refused::Silent(why) => why,
        Refused::Version(version) => version.to_string(),
    };
    CoordinatorError::NotDone(format!("{}: {why}", member.endpoint()))
}

/// What an error means: only where the server says that it did nothing is that known.
pub(crate) fn failed<T>(member: &Member, error: &Error) -> Outcome<T> {
    let mut why = format!("{}: {}", member.endpoint(), describe(error));
    if why.contains(NO_SPACE) {
        why += "; etcd is full: compact and defragment it, or give it a larger \
                --quota-backend-bytes, and end its alarm (etcdctl alarm disarm)";
    }
    match error {
        Error::GRpcStatus(status) if NOT_DONE.contains(&(status.code() as i32)) => {
            Outcome::NotDone(CoordinatorError::NotDone(why))
        }
        _ => Outcome::Unknown(why),
    }
}

pub(crate) fn number(revision: i64) -> Revision {
    Revision::try_from(revision).unwrap_or(0)
}

pub(crate) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key() {
        assert_eq!(end_of("/a/"), b"/a0");
        assert_eq!(end_of(""), [0]);
    }
}
