//! Parsers of the identity service.

use std::time::Duration;

use crate::fuzz;
use crate::support::{
    NOW, at, bundle, csr_key, domain, json_web_token, leaf, request, resigned, root, sign, token_key,
};
use data_encoding::{BASE64URL_NOPAD, HEXUPPER};
use serde_json::Value;
use signet_attest::RequiredSelectors;
use signet_authority::RequestedKey;
use signet_fuzz::Refused;
use signet_log::{Caller, Change, ChangeKind, Entry, ExportReader, Hash, LogKey, Record, VerifierKey};
use signet_spiffe::{
    Audience, BundleSet, CertificateDer, JwksError, JwtBundle, JwtBundleSet, JwtKey, NodeName, ProofContext,
    SeenProofs, SpiffeBundle, SpiffeId, TrustDomain, WitBundle, WitBundleSet, X509Bundle, verify_jwt_svid,
    verify_wit_svid, verify_x509_svid,
};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

/// SPIFFE-ID §2, read by hand.
fn is_spiffe_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("spiffe://") else {
        return false;
    };
    let mut parts = rest.split('/');
    let path_is_good = |segment: &str| {
        !["", ".", ".."].contains(&segment)
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    text.len() <= 2048 && parts.next().is_some_and(is_trust_domain) && parts.all(path_is_good)
}

fn is_trust_domain(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=255).contains(&name.len()) && name.bytes().all(good)
}

#[test]
fn fuzz_spiffe_id() {
    let long = format!("spiffe://td/{}", "a/".repeat(900) + "b");
    fuzz("spiffe_id")
        .seed("spiffe://cluster.local/ns/shop/sa/web")
        .seed("spiffe://a-b.c_d.1/x.y/-/_")
        .seed("spiffe://td")
        .seed(long)
        .inputs(100_000)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let parsed = SpiffeId::parse(text);
            assert_eq!(parsed.is_ok(), is_spiffe_id(text), "two readings differ");
            let id = parsed?;
            assert_eq!(id.as_str(), text);
            assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_trust_domain() {
    fuzz("trust_domain")
        .seed("cluster.local")
        .seed("192.0.2.1")
        .seed("x".repeat(255))
        .inputs(100_000)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let parsed = TrustDomain::parse(text);
            assert_eq!(parsed.is_ok(), is_trust_domain(text), "two readings differ");
            assert_eq!(parsed?.as_str(), text);
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_node_name() {
    fuzz("node_name")
        .seed("n1")
        .seed("x".repeat(63))
        .inputs(50_000)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let name = NodeName::parse(text)?;
            assert_eq!(name.to_string(), text);
            let id = SpiffeId::node(&domain(), &name);
            assert_eq!(SpiffeId::parse(id.as_str()), Ok(id.clone()));
            assert_eq!(id.node_name(), Some(name));
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_selectors() {
    fuzz("selectors")
        .seed("unix:uid:1000")
        .seed("unix:path:/usr/bin/web")
        .seed(format!("unix:sha256:{}", "0f".repeat(32)))
        .seed("endpoint:shop/web")
        .inputs(50_000)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let selectors = RequiredSelectors::parse(&[text])?;
            let written = selectors.to_string();
            assert_eq!(RequiredSelectors::parse(&[written]), Ok(selectors));
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_certificate_request() {
    let key = csr_key();
    let valid = request(&key);
    fuzz("certificate_request")
        .seed(&valid)
        .inputs(10_000)
        .run(|bytes| RequestedKey::from_request(bytes).map_err(Refused::from));
    // What an attacker has who can sign: the same with a signature that fits.
    let (body, _) = crate::support::parts(&valid);
    fuzz("certificate_request_signed")
        .seed(body)
        .inputs(2_000)
        .run(|body| {
            let request = resigned(body, &key);
            let _ = RequestedKey::from_request(&request)?;
            let (rest, second) =
                x509_parser::certification_request::X509CertificationRequest::from_der(&request).unwrap();
            assert!(rest.is_empty());
            second.verify_signature().unwrap();
            Ok::<_, Refused>(())
        });
}

/// X509-SVID §2 to §5 of a leaf, read by another parser.
fn is_leaf_of(der: &[u8], id: &SpiffeId) {
    let (rest, leaf) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty(), "bytes behind the certificate");
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let uris: Vec<_> = names
        .value
        .general_names
        .iter()
        .filter_map(|name| {
            if let GeneralName::URI(uri) = name {
                Some(*uri)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(uris, [id.as_str()], "one URI");
    assert!(!id.path().is_empty());
    assert!(!leaf.is_ca(), "cA");
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(
        usage.value.digital_signature() && usage.critical,
        "digitalSignature"
    );
    assert!(
        !usage.value.key_cert_sign() && !usage.value.crl_sign(),
        "signs certificates"
    );
    if let Some(purposes) = leaf.extended_key_usage().unwrap() {
        assert!(
            purposes.value.client_auth && purposes.value.server_auth,
            "both purposes"
        );
    }
    for extension in leaf.extensions() {
        let unknown = matches!(
            extension.parsed_extension(),
            ParsedExtension::UnsupportedExtension { .. }
        );
        assert!(!(unknown && extension.critical), "an unknown critical extension");
    }
    let validity = leaf.validity();
    let now = i64::try_from(NOW).unwrap();
    assert!(validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp());
}

#[test]
fn fuzz_svid_chain() {
    let (root, valid) = (root(), leaf("spiffe://td.test/web"));
    let bundles = BundleSet::single(bundle(&root));
    let verify = |chain: &[CertificateDer<'_>]| verify_x509_svid(chain, &bundles, at(NOW));
    fuzz("svid").seed(&valid).inputs(5_000).run(|bytes| {
        let svid = verify(&[bytes.into()])?;
        is_leaf_of(bytes, svid.id());
        Ok::<_, Refused>(())
    });
    let valid = leaf("spiffe://td.test/web");
    fuzz("svid_beside").seed(&root).inputs(3_000).run(|beside| {
        // Whatever stands beside a valid leaf is there for path building alone.
        let svid = verify(&[valid.as_slice().into(), beside.into()]);
        assert_eq!(svid?.id().as_str(), "spiffe://td.test/web");
        Ok::<_, Refused>(())
    });
    // What a CA would sign that signs anything.
    let (body, _) = crate::support::parts(&valid);
    fuzz("svid_signed").seed(body).inputs(10_000).run(|body| {
        let certificate = sign(body);
        let svid = verify(&[certificate.as_slice().into()])?;
        is_leaf_of(&certificate, svid.id());
        Ok::<_, Refused>(())
    });
}

/// Others may have authorities with keys of kinds that we know nothing of: those can be read and handed on, and not be
/// written as JSON Web Keys. Nothing else may stand in the way.
fn written(bundle: &X509Bundle, jwks: Result<String, JwksError>) -> Option<String> {
    let root = root();
    let key = |der: &[u8]| {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        certificate.public_key().raw.to_vec()
    };
    match jwks {
        Ok(jwks) => Some(jwks),
        Err(JwksError::Key { number }) => {
            assert_ne!(key(&bundle.authorities()[number - 1]), key(&root), "a known key");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn fuzz_x509_bundle() {
    let root = root();
    let pem = bundle(&root).to_pem();
    fuzz("bundle_pem").seed(&pem).inputs(5_000).run(|bytes| {
        let text = str::from_utf8(bytes)?;
        let bundle = X509Bundle::from_pem(domain(), text)?;
        assert_eq!(X509Bundle::from_pem(domain(), &bundle.to_pem()).unwrap(), bundle);
        Ok::<_, Refused>(())
    });
    let jwks = bundle(&root).to_jwks(7, Duration::from_mins(5)).unwrap();
    fuzz("bundle_x509_jwks").seed(&jwks).inputs(5_000).run(|bytes| {
        let text = str::from_utf8(bytes)?;
        let bundle = X509Bundle::from_jwks(domain(), text)?;
        if let Some(written) = written(&bundle, bundle.to_jwks(7, Duration::ZERO)) {
            assert_eq!(X509Bundle::from_jwks(domain(), &written).unwrap(), bundle);
        }
        Ok::<_, Refused>(())
    });
}

#[test]
fn fuzz_spiffe_bundle() {
    let jwt = token_key().bundle();
    // Another key than the JWT key: twice the base point of P-256 (SP 800-186 section 3.2.1.3) is one, too.
    let point = HEXUPPER
        .decode(
            b"047CF27B188D034F7E8A52380304B51AC3C08969E277F21B35A60B48FC47669978\
              07775510DB8ED040293D9AC69F7430DBBA7DADE63CE982299E04B79D227873D1",
        )
        .unwrap();
    let wit = vec![JwtKey::p256(&point).unwrap()];
    let bundle = SpiffeBundle {
        x509: Some(bundle(&root())),
        jwt: jwt.clone(),
        wit: WitBundle::new(domain(), wit).unwrap(),
        sequence: Some(7),
        refresh_hint: Some(Duration::from_mins(5)),
    };
    let seeds = (bundle.to_jwks().unwrap(), jwt.to_jwks());
    fuzz("bundle_spiffe")
        .seed(&seeds.0)
        .seed(&seeds.1)
        .seed("{\"keys\":[]}")
        .inputs(10_000)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let bundle = SpiffeBundle::from_jwks(&domain(), text)?;
            let ours = bundle.to_jwks();
            // Somebody else's document may have one ID for a JWT key and a WIT key, which are apart in here; we write none.
            if matches!(ours, Err(JwksError::SharedId { .. })) {
                return Ok(());
            }
            let written = match &bundle.x509 {
                Some(x509) => written(x509, ours),
                None => Some(ours.unwrap()),
            };
            if let Some(written) = written {
                assert_eq!(SpiffeBundle::from_jwks(&domain(), &written).unwrap(), bundle);
            }
            // Another reader of JSON finds as many keys for SVIDs, or more: some it does not understand.
            let second: Value = serde_json::from_str(text).unwrap();
            let keys = second["keys"].as_array().unwrap();
            let of = |wanted: &str| keys.iter().filter(|key| key["use"] == wanted).count();
            assert!(bundle.jwt.keys().len() <= of("jwt-svid"));
            assert!(bundle.wit.keys().len() <= of("wit-svid"));
            assert!(bundle.x509.map_or(0, |x509| x509.authorities().len()) <= of("x509-svid"));
            Ok::<_, Refused>(())
        });
    fuzz("bundle_jwt").seed(&seeds.1).inputs(10_000).run(|bytes| {
        let text = str::from_utf8(bytes)?;
        let bundle = JwtBundle::from_jwks(domain(), text)?;
        assert_eq!(JwtBundle::from_jwks(domain(), &bundle.to_jwks()).unwrap(), bundle);
        Ok::<_, Refused>(())
    });
}

#[test]
fn fuzz_token() {
    let key = token_key();
    let bundles = JwtBundleSet::single(key.bundle());
    let (header, payload) = key.parts();
    let verify = |token: &str| verify_jwt_svid(token, &bundles, "db", at(NOW));
    let valid = json_web_token(&key, &header, &payload);
    fuzz("token")
        .seed(valid)
        .inputs(20_000)
        .run(|bytes| verify(str::from_utf8(bytes)?).map_err(Refused::from));
    // What somebody signs who has a key: header and payload, with a line feed between.
    let seed = [header.as_slice(), b"\n", &payload].concat();
    fuzz("token_signed").seed(seed).inputs(10_000).run(|bytes| {
        let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
        let (header, payload) = (parts.next().unwrap(), parts.next().unwrap_or_default());
        let token = json_web_token(&key, header, payload);
        let svid = verify(&token)?;
        // JWT-SVID §2 to §4, read by another parser.
        let header: Value = serde_json::from_slice(header).unwrap();
        assert_eq!(header["alg"], "ES256");
        for member in header.as_object().unwrap().keys() {
            assert!(["alg", "kid", "typ"].contains(&member.as_str()), "{member}");
        }
        assert!(
            header
                .get("typ")
                .is_none_or(|typ| *typ == "JWT" || *typ == "JOSE")
        );
        let claims: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(claims["sub"], svid.id().as_str());
        let audience = &claims["aud"];
        assert!(*audience == "db" || audience.as_array().is_some_and(|all| all.contains(&"db".into())));
        assert!(claims["exp"].as_f64().unwrap() > 1_800_000_000.0, "ended");
        Ok::<_, Refused>(())
    });
}

#[test]
fn fuzz_wit_svid() {
    let key = token_key();
    let bundle = WitBundle::new(domain(), key.bundle().keys().to_vec()).unwrap();
    let bundles = WitBundleSet::single(bundle);
    let id = key.bundle().keys()[0].id().to_owned();
    let header = format!(r#"{{"alg":"ES256","kid":"{id}","typ":"wit+jwt"}}"#);
    let mut jwk = serde_json::from_str::<Value>(&key.bundle().to_jwks()).unwrap()["keys"][0].take();
    jwk["alg"] = "ES256".into();
    let payload = format!(
        r#"{{"sub":"spiffe://td.test/web","exp":1800000300,"iat":1800000000,"jti":"01","cnf":{{"jwk":{jwk}}}}}"#
    );
    let valid = json_web_token(&key, header.as_bytes(), payload.as_bytes());
    let verify = |token: &str| verify_wit_svid(token, &bundles, at(NOW));
    fuzz("wit_svid")
        .seed(&valid)
        .inputs(20_000)
        .run(|bytes| verify(str::from_utf8(bytes)?).map_err(Refused::from));
    // What somebody signs who has a key: header and payload, with a line feed between.
    let seed = format!("{header}\n{payload}");
    fuzz("wit_svid_signed").seed(seed).inputs(10_000).run(|bytes| {
        let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
        let (header, payload) = (parts.next().unwrap(), parts.next().unwrap_or_default());
        let token = json_web_token(&key, header, payload);
        let svid = verify(&token)?;
        // WIT-SVID §2 and §3, read by another parser.
        let header: Value = serde_json::from_slice(header).unwrap();
        assert!(header["typ"] == "wit+jwt" && header["alg"] == "ES256" && header["kid"] == id.as_str());
        assert!(header.get("crit").is_none());
        let claims: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(claims["sub"], svid.issued_to().as_str());
        assert!(claims.get("aud").is_none());
        assert!(claims["exp"].as_f64().unwrap() > 1_800_000_000.0, "ended");
        let jwk = claims["cnf"]["jwk"].as_object().unwrap();
        assert!(jwk["alg"] == "ES256" && jwk["crv"] == "P-256" && !jwk.contains_key("d"));
        Ok::<_, Refused>(())
    });
    // Proofs of a stranger, of whatever form: none is believed but the one that the key has signed for this.
    let svid = verify(&valid).unwrap();
    let here = ProofContext::of("https://db");
    let hash = BASE64URL_NOPAD.encode(&Hash::sha256(valid.as_bytes()).0);
    let claims = format!(r#"{{"aud":"https://db","exp":1800000060,"jti":"p1","wth":"{hash}"}}"#);
    let seed = format!("{{\"alg\":\"ES256\",\"typ\":\"wpt+jwt\"}}\n{claims}");
    fuzz("wit_proof_signed").seed(seed).inputs(10_000).run(|bytes| {
        let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
        let (header, payload) = (parts.next().unwrap(), parts.next().unwrap_or_default());
        let proof = json_web_token(&key, header, payload);
        let mut earlier = SeenProofs::new(1);
        let whole = svid.clone().proven_by(&proof, &here, &mut earlier, at(NOW))?;
        assert_eq!(whole.id(), svid.issued_to());
        let claims: Value = serde_json::from_slice(payload).unwrap();
        let audience = &claims["aud"];
        let here = "https://db";
        assert!(*audience == here || audience.as_array().is_some_and(|all| all.contains(&here.into())));
        assert_eq!(claims["wth"], hash.as_str());
        assert!((1_800_000_000.0..=1_800_000_301.0).contains(&claims["exp"].as_f64().unwrap()));
        Ok::<_, Refused>(())
    });
}

#[test]
fn fuzz_audience() {
    fuzz("audience")
        .seed("a\nb\nhttps://db.example/x")
        .inputs(20_000)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let texts: Vec<String> = text.split('\n').map(str::to_owned).collect();
            let audience = Audience::new(&texts)?;
            assert_eq!(Audience::new(audience.as_slice()), Ok(audience));
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_log_leaf() {
    let entry = Entry {
        at: NOW,
        caller: Caller::Operator { uid: 0 },
        record: Record::Change(Change {
            kind: ChangeKind::Registration,
            subject: "r1".to_owned(),
            before: None,
            after: Some(Change::digest(&["a", "b"])),
        }),
    };
    fuzz("log_leaf")
        .seed(entry.encode())
        .inputs(100_000)
        .run(|bytes| {
            let entry = Entry::decode(bytes)?;
            assert_eq!(
                entry.encode(),
                bytes,
                "a leaf has one spelling: its hash is what is proven"
            );
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_log_checkpoint() {
    let key = LogKey::from_seed("td.test/log", &[7; 32]).unwrap();
    let note = key.sign(42, Hash::leaf(b"x")).unwrap();
    let verifier = key.verifier();
    fuzz("log_checkpoint").seed(&note).inputs(20_000).run(|bytes| {
        let text = str::from_utf8(bytes)?;
        let checkpoint = verifier.open(text)?;
        assert!(
            note.starts_with(text.split("\n\n").next().unwrap()),
            "signed text was changed"
        );
        assert_eq!((checkpoint.size(), checkpoint.root()), (42, Hash::leaf(b"x")));
        Ok::<_, Refused>(())
    });
    fuzz("log_key")
        .seed(verifier.to_string())
        .inputs(20_000)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let key = VerifierKey::parse(text)?;
            assert_eq!(VerifierKey::parse(&key.to_string()).unwrap(), key);
            Ok::<_, Refused>(())
        });
    let file = format!(
        "signet-log 1\nkey {verifier}\ncheckpoint {}\nleaf AQIDBA==",
        data_encoding::BASE64.encode(note.as_bytes())
    );
    fuzz("log_export").seed(file).inputs(20_000).run(|bytes| {
        let text = str::from_utf8(bytes)?;
        let mut reader = ExportReader::default();
        text.split('\n')
            .try_for_each(|line| reader.line(line).map(drop))?;
        Ok::<_, Refused>(())
    });
}

#[test]
fn the_token_s_parts_are_what_they_seem() {
    let key = token_key();
    let (header, payload) = key.parts();
    let token = json_web_token(&key, &header, &payload);
    let first = token.split('.').next().unwrap();
    assert_eq!(BASE64URL_NOPAD.decode(first.as_bytes()).unwrap(), header);
}
