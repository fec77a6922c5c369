//! Leaves, keys, checkpoints and exports: what is written is read, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use proptest::prelude::*;
use signet_log::{
    Audit, Caller, Change, ChangeKind, CheckpointError, Document, Entry, ExportLine, ExportReader, Fault,
    Frontier, Hash, Issuance, KeyError, LeafError, LogKey, MAX_LEAF_BYTES, NoteError, Record, VerifierKey,
    origin,
};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

fn node() -> NodeName {
    NodeName::parse("n1").unwrap()
}

fn issuance(number: u8) -> Entry {
    Entry {
        at: 1_800_000_000,
        caller: Caller::Node(node()),
        record: Record::Issuance(Issuance {
            document: Document::X509,
            serial: vec![number; 16],
            spiffe_id: SpiffeId::parse("spiffe://td/ns/shop/sa/web").unwrap(),
            node: Some(node()),
            not_before: 1_799_999_700,
            not_after: 1_800_003_600,
            sha256: Hash::sha256(&[number]),
        }),
    }
}

fn change() -> Entry {
    Entry {
        at: 1,
        caller: Caller::Operator { uid: 0 },
        record: Record::Change(Change {
            kind: ChangeKind::Registration,
            subject: "00000000-0000-4000-8000-000000000000".to_owned(),
            before: None,
            after: Some(Change::digest(&["a", "b"])),
        }),
    }
}

fn key() -> LogKey {
    LogKey::from_seed("td/signet/log", &[7; 32]).unwrap()
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    let mut entries = vec![issuance(1), change()];
    let admin = Caller::Identity(SpiffeId::parse("spiffe://td/admin").unwrap());
    for caller in [Caller::Ca, Caller::JoinToken([9; 8]), admin] {
        entries.push(Entry { caller, ..change() });
    }
    let mut jwt = issuance(2);
    if let Record::Issuance(issuance) = &mut jwt.record {
        issuance.document = Document::Jwt;
        issuance.node = None;
    }
    entries.push(jwt);
    for kind in [
        ChangeKind::Node,
        ChangeKind::JoinToken,
        ChangeKind::Setting,
        ChangeKind::Revocation,
    ] {
        let mut other = change();
        if let Record::Change(change) = &mut other.record {
            change.kind = kind;
        }
        entries.push(other);
    }
    for entry in entries {
        assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    }
}

#[test]
fn the_encoding_of_version_1_does_not_change() {
    let leaf = change().encode();
    assert_eq!(
        Hash::leaf(&leaf).to_string(),
        "e89159a084a4404fcd32a784af803e797adcd4893a998653452b0ea323e98841"
    );
    assert_eq!(
        Hash::leaf(&issuance(1).encode()).to_string(),
        "1bdc34a34a8e6a63942bc6bd2a0efdfbb1c4455c16203636ea9fdc858b4cdc46"
    );
}

#[test]
fn an_entry_of_a_later_version_is_told_from_a_broken_one() {
    let leaf = issuance(1).encode();
    let with = |at: usize, value: u8| {
        let mut changed = leaf.clone();
        changed[at] = value;
        Entry::decode(&changed)
    };
    assert_eq!(with(0, 2), Err(LeafError::Unknown { version: 2, kind: 1 }));
    assert_eq!(with(1, 9), Err(LeafError::Unknown { version: 1, kind: 9 }));
    for length in 2..leaf.len() {
        assert_eq!(
            Entry::decode(&leaf[..length]),
            Err(LeafError::Malformed),
            "{length}"
        );
    }
    assert_eq!(
        Entry::decode(&[&leaf[..], &[0]].concat()),
        Err(LeafError::Malformed)
    );
    let long = vec![1; MAX_LEAF_BYTES + 1];
    assert_eq!(
        Entry::decode(&long),
        Err(LeafError::TooLong { bytes: long.len() })
    );
}

#[test]
fn a_leaf_of_the_longest_names_fits() {
    let mut entry = issuance(1);
    if let Record::Issuance(issuance) = &mut entry.record {
        let long = format!("spiffe://td/{}", "a".repeat(signet_spiffe::MAX_ID_LENGTH - 12));
        issuance.spiffe_id = SpiffeId::parse(&long).unwrap();
        issuance.serial = vec![1; 20];
    }
    let leaf = entry.encode();
    assert!(leaf.len() <= MAX_LEAF_BYTES);
    assert_eq!(Entry::decode(&leaf), Ok(entry));
}

#[test]
fn a_digest_keeps_its_fields_apart() {
    assert_ne!(Change::digest(&["ab", "c"]), Change::digest(&["a", "bc"]));
    assert_ne!(Change::digest(&["ab"]), Change::digest(&["ab", ""]));
}

/// The example of <https://c2sp.org/tlog-checkpoint>; its key is that of the specification's test vectors in form only,
/// so the note is taken apart and found to be of an unknown key.
#[test]
fn the_specification_s_example_is_a_checkpoint_of_somebody_else() {
    let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa \
        Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    assert_eq!(
        key().verifier().open(note),
        Err(CheckpointError::Note(NoteError::Unsigned))
    );
}

/// Of <https://pkg.go.dev/golang.org/x/mod/sumdb/note>: the key and the note of its documentation.
#[test]
fn keys_and_signatures_are_those_of_other_implementations() {
    let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key = LogKey::from_secret_text(secret).unwrap();
    assert_eq!(key.verifier().to_string(), public);
    assert_eq!(VerifierKey::parse(public).as_ref(), Ok(key.verifier()));
    // The signature of that page, over a text that is no checkpoint.
    let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    assert_eq!(key.verifier().open(note), Err(CheckpointError::Malformed));
    let forged = note.replace("then you don't", "then you do");
    assert_eq!(
        key.verifier().open(&forged),
        Err(CheckpointError::Note(NoteError::Signature))
    );
}

#[test]
fn a_checkpoint_is_believed_when_the_log_s_key_signed_it() {
    let (key, root) = (key(), Hash::leaf(b"x"));
    let note = key.sign(1, root).unwrap();
    let opened = key.verifier().open(&note).unwrap();
    assert_eq!(
        (opened.origin(), opened.size(), opened.root()),
        ("td/signet/log", 1, root)
    );
    let other = LogKey::from_seed("td/signet/log", &[8; 32]).unwrap();
    assert_eq!(
        other.verifier().open(&note),
        Err(CheckpointError::Note(NoteError::Unsigned))
    );
    let forged = note.replacen("\n1\n", "\n2\n", 1);
    assert_eq!(
        key.verifier().open(&forged),
        Err(CheckpointError::Note(NoteError::Signature))
    );
    // A witness adds its line; it is somebody else's business.
    let witnessed = format!("{note}\u{2014} witness.example AAAAAAAA\n");
    assert!(key.verifier().open(&witnessed).is_ok());
    for broken in [
        "",
        "\n\n",
        &note[..note.len() - 1],
        &note.replace('\u{2014}', "-"),
        &note.replace("\n\n", "\n"),
        &format!("{note}\n"),
        &format!("\r{note}"),
        &"x".repeat(70_000),
    ] {
        assert!(
            matches!(key.verifier().open(broken), Err(CheckpointError::Note(_))),
            "{broken:?}"
        );
    }
}

#[test]
fn a_secret_is_read_as_it_was_written_and_not_shown() {
    let name = origin(&TrustDomain::parse("td").unwrap());
    let text = LogKey::secret_text(&name, &[7; 32]).unwrap();
    let read = LogKey::from_secret_text(&text).unwrap();
    assert_eq!(read.verifier(), key().verifier());
    assert!(!format!("{read:?}").contains("BwcH"));
    for (bad, error) in [
        ("", KeyError::Malformed),
        ("PRIVATE+KEY+", KeyError::Malformed),
        (&text.replace("td/", "te/"), KeyError::Id),
        (&text.replace("+AQ", "+Ag"), KeyError::Kind),
        (
            text.strip_suffix("c=\n").unwrap_or(&text[..text.len() - 3]),
            KeyError::Malformed,
        ),
    ] {
        assert_eq!(
            LogKey::from_secret_text(bad).map(drop).unwrap_err(),
            error,
            "{bad}"
        );
    }
}

/// A leaf, and the hashes stored beside it.
type Row = (Vec<u8>, Vec<Hash>);

/// A log of `count` entries.
fn log(count: u8) -> (Vec<Row>, Frontier) {
    let mut frontier = Frontier::empty();
    let rows = (0..count)
        .map(|number| {
            let leaf = issuance(number).encode();
            let stored = frontier.append(Hash::leaf(&leaf));
            (leaf, stored)
        })
        .collect();
    (rows, frontier)
}

#[test]
fn an_audit_finds_every_lie() {
    let (rows, frontier) = log(13);
    let key = key();
    let head = |size: u8| {
        let root = log(size).1.root();
        key.verifier()
            .open(&key.sign(size.into(), root).unwrap())
            .unwrap()
    };
    let run = |rows: &[Row], heads: Vec<_>, wanted: Vec<Hash>| {
        let mut audit = Audit::new(heads, wanted)?;
        for (position, (leaf, stored)) in (0..).zip(rows) {
            audit.entry(position, leaf, stored)?;
        }
        audit.finish()
    };
    let honest = run(&rows, vec![head(0), head(5), head(13)], vec![Hash::sha256(&[6])]).unwrap();
    assert_eq!(
        (honest.size, honest.root, honest.unknown),
        (13, frontier.root(), 0)
    );
    assert_eq!(honest.found.get(&Hash::sha256(&[6])), Some(&6));

    let mut changed = rows.clone();
    changed[3].0[20] ^= 1;
    assert_eq!(run(&changed, vec![], vec![]), Err(Fault::Leaf { position: 3 }));
    // Whoever changes the hash beside it is caught by those above it.
    changed[3].1[0] = Hash::leaf(&changed[3].0);
    assert_eq!(run(&changed, vec![], vec![]), Err(Fault::Node { position: 3 }));
    // Whoever makes the whole tree anew is caught by what was signed.
    for row in &mut changed {
        row.1.clear();
    }
    assert_eq!(
        run(&changed, vec![head(13)], vec![]),
        Err(Fault::Head { size: 13 })
    );
    assert_eq!(run(&changed, vec![head(5)], vec![]), Err(Fault::Head { size: 5 }));
    assert!(run(&changed, vec![head(3)], vec![]).is_ok());

    let short = &rows[..12];
    assert_eq!(
        run(short, vec![head(5), head(13)], vec![]),
        Err(Fault::Short { size: 12, signed: 13 })
    );
    let mut audit = Audit::new([], []).unwrap();
    assert_eq!(
        audit.entry(1, &rows[1].0, &[]),
        Err(Fault::Gap {
            expected: 0,
            found: 1
        })
    );
    let lost = Hash::sha256(b"never logged");
    assert_eq!(
        run(&rows, vec![], vec![lost]),
        Err(Fault::NotLogged { sha256: lost })
    );
    let other = key.verifier().open(&key.sign(5, lost).unwrap()).unwrap();
    assert_eq!(
        Audit::new([head(5), other], []).unwrap_err(),
        Fault::Split { size: 5 }
    );
    let mut strange = rows;
    strange[12] = (vec![9, 9, 9], vec![]);
    assert_eq!(run(&strange, vec![], vec![]).unwrap().unknown, 1);
}

#[test]
fn an_exported_log_is_read_in_order_alone() {
    let key = key();
    let lines = [
        ExportLine::Header,
        ExportLine::Key(key.verifier().clone()),
        ExportLine::Checkpoint(key.sign(1, Hash::leaf(b"x")).unwrap()),
        ExportLine::Leaf(vec![1, 2, 3]),
        ExportLine::Leaf(vec![]),
    ];
    let mut reader = ExportReader::default();
    for line in &lines {
        assert_eq!(reader.line(&line.to_string()).as_ref(), Ok(line));
    }
    assert_eq!(reader.line("leaf ?").unwrap_err().line, 6);
    assert!(ExportReader::default().line("leaf AA==").is_err());
    let mut reader = ExportReader::default();
    reader.line("signet-log 1").unwrap();
    assert!(reader.line(&"k".repeat(1 << 20)).is_err());
}

proptest! {
    #[test]
    fn whatever_reads_as_an_entry_has_that_one_encoding(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut near = issuance(1).encode();
        let at = at.index(near.len());
        near[at] = value;
        for leaf in [bytes, near] {
            if let Ok(entry) = Entry::decode(&leaf) {
                prop_assert_eq!(entry.encode(), leaf);
            }
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "(\\PC|\n|\u{2014} |\\+){0,200}") {
        let _ = VerifierKey::parse(&text);
        let _ = key().verifier().open(&text);
        let _ = LogKey::from_secret_text(&text);
        let _ = ExportReader::default().line(&text);
    }
}
