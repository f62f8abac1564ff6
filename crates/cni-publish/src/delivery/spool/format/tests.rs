use super::*;
use cni_types::shard::Shard;

fn round(at: i64) -> Kept {
    Kept::new(UnixMillis(at), ROWS.iter().step_by(2).map(|row| (row, at as f64 / 3.0)))
}

fn file_of(shard: Option<Shard>) -> Vec<u8> {
    let rounds = [round(2_000), round(1_000)];
    let origin = Origin { namespace: "Kubernetes".to_owned(), cluster_id: "prod".parse().unwrap(), shard };
    encode(&Image {
        origin: &origin,
        saved_at: UnixMillis(3_000),
        newest_sent: Some(6),
        rounds: [8, 7].into_iter().zip(&rounds),
        claim: &[],
        counters: Some(Counters { at: UnixMillis(2_000), round: 8, bytes: b"baselines" }),
    })
}

#[test]
fn what_was_written_comes_back_oldest_first() {
    for shard in [None, "2/3".parse().ok()] {
        let content = decode(&file_of(shard)).unwrap();
        assert_eq!(content.rounds, [(7, round(1_000)), (8, round(2_000))]);
        assert_eq!(content.counters, Some((UnixMillis(2_000), 8, b"baselines".to_vec())));
        assert_eq!((content.saved_at, content.newest_sent), (UnixMillis(3_000), Some(6)));
        assert_eq!((content.namespace.as_str(), content.cluster_id.as_str()), ("Kubernetes", "prod"));
        assert_eq!(content.shard, shard.map(|shard| shard.to_string()).unwrap_or_default());
    }
}

#[test]
fn any_flipped_bit_and_any_cut_of_the_image_is_noticed() {
    let bytes = file_of(None);
    for index in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[index] ^= 1 << (index % 8);
        // The count of points in the header is for files that are damaged elsewhere; nothing else uses it.
        let is_count = (24..32).contains(&index);
        assert_eq!(decode(&flipped).is_err(), !is_count, "bit in byte {index}");
        assert!(decode(&bytes[..index]).is_err(), "cut at {index}");
    }
}

#[test]
fn a_journal_settles_its_claims_and_a_record_that_was_cut_off_never_was() {
    let counters = COUNTERS & round(1).metrics;
    let all = round(1).metrics;
    let bytes = file_of(None);
    let claimed = [bytes.clone(), claim(&[(7, all)])].concat();
    let mut content = decode(&claimed).unwrap();
    assert_eq!(content.claim, [(7, all)]);
    let given_up = content.give_up_claim();
    assert_eq!((given_up.len(), given_up[0].metrics, given_up[0].at), (1, counters, UnixMillis(1_000)));
    assert_eq!(content.rounds[0], (7, round(1_000).without(counters)), "its gauges stay");
    assert_eq!(content.newest_sent, Some(7));

    let settled_file = [claimed.clone(), settled(&[(7, all)], true)].concat();
    let content = decode(&settled_file).unwrap();
    assert_eq!((content.rounds.len(), content.claim.len(), content.newest_sent), (1, 0, Some(7)));
    assert_eq!(points_by_header(&settled_file), Some(u64::from(all.count_ones())));
    let released = decode(&[claimed.clone(), settled(&[], false)].concat()).unwrap();
    assert_eq!((released.rounds.len(), released.claim.len(), released.newest_sent), (2, 0, Some(6)));

    for cut in 0..claimed.len() - bytes.len() {
        assert_eq!(decode(&claimed[..bytes.len() + cut]).unwrap().claim, [], "cut {cut} bytes into the record");
    }
    for cut in claimed.len()..settled_file.len() {
        assert_eq!(decode(&settled_file[..cut]).unwrap().claim, [(7, all)]);
    }
}

#[test]
fn a_later_version_is_named_and_a_damaged_header_counts_nothing() {
    let mut later = file_of(None);
    later[8] = 9;
    assert_eq!(decode(&later), Err(Unreadable::Newer(9)));
    let mut damaged = file_of(None);
    damaged[30] = 0xff;
    assert_eq!(points_by_header(&damaged), None);
    assert_eq!(points_by_header(b"CNISPOOL"), None);
}

proptest::proptest! {
    #[test]
    fn random_payloads_with_a_good_checksum_never_panic(
        version in 0_u32..5,
        payload in proptest::collection::vec(0_u8..4, 0..300),
        journal in proptest::collection::vec(0_u8..4, 0..60),
    ) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(crc32fast::hash(&payload).to_le_bytes());
        bytes.extend((payload.len() as u64).to_le_bytes());
        if version == VERSION {
            bytes.extend(0_u64.to_le_bytes());
        }
        bytes.extend(&payload);
        bytes.extend(framed(&journal));
        let _ = decode(&bytes);
        let _ = points_by_header(&bytes);
    }
}
