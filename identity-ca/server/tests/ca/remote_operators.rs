//! Operators by SPIFFE ID over mutual TLS, and by Unix credentials on the socket; and those who are none.

use std::collections::BTreeSet;

use signet_authority::{Authority, RequestedKey, Serial, SigningKey};
use signet_ca::{Access, Operations, Principals, Storage};
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    CreateJoinTokenRequest, IssueX509SvidRequest, ListRegistrationsRequest, RegisterRequest, RevokeRequest,
    StatusRequest, UpdateRegistrationRequest,
};
use signet_spiffe::{SpiffeId, TrustDomain, UnixTime};
use signet_tls::SvidKeyPair;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::running::{Running, TestNode, channel, pair, request};

pub(crate) const ALICE: &str = "spiffe://td/ops/alice";
pub(crate) const BOB: &str = "spiffe://td/ops/bob";
const WEB: &str = "spiffe://td/ns/shop/sa/web";

pub(crate) type Operator = OperatorServiceClient<Channel>;

pub(crate) async fn open(access: Access) -> Running {
    let operations = Operations {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        access,
        ..Operations::default()
    };
    let directory = tempfile::tempdir().unwrap();
    Running::configured(Storage::Memory, directory, |config| {
        config.operations = operations;
    })
    .await
    .unwrap()
}

fn ids(ids: &[&str]) -> Principals {
    Principals {
        ids: ids.iter().map(|id| SpiffeId::parse(id).unwrap()).collect(),
        ..Principals::default()
    }
}

/// The SVID of a workload that is registered so; and the registration's id.
pub(crate) async fn svid(ca: &Running, node: &TestNode, id: &str, role: &str) -> (SvidKeyPair, String) {
    let register = RegisterRequest {
        spiffe_id: id.to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:1".to_owned()],
        role: role.to_owned(),
        ..RegisterRequest::default()
    };
    let registration = ca
        .operator
        .clone()
        .register(register)
        .await
        .unwrap()
        .into_inner()
        .id;
    (issue(node, &registration).await, registration)
}

async fn issue(node: &TestNode, registration: &str) -> SvidKeyPair {
    let (key, csr) = request();
    let call = IssueX509SvidRequest {
        registration: registration.to_owned(),
        csr,
    };
    let svid = node
        .client
        .clone()
        .issue_x509_svid(call)
        .await
        .unwrap()
        .into_inner();
    pair(&key, &svid)
}

pub(crate) async fn connect(
    ca: &Running,
    identity: Option<&SvidKeyPair>,
) -> Result<Operator, tonic::transport::Error> {
    let address = ca.server.operators().unwrap();
    Ok(OperatorServiceClient::new(
        channel(address, identity, ca.bundles()).await?,
    ))
}

pub(crate) async fn look(operator: &mut Operator) -> Result<(), Status> {
    operator.status(StatusRequest {}).await.map(drop)
}

async fn change(operator: &mut Operator) -> Result<(), Status> {
    let request = CreateJoinTokenRequest {
        node: "n7".to_owned(),
        ..CreateJoinTokenRequest::default()
    };
    operator.create_join_token(request).await.map(drop)
}

#[track_caller]
fn denied(result: Result<(), Status>) {
    let Err(refused) = result else {
        panic!("was let through")
    };
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}

#[tokio::test]
async fn a_workload_without_a_role_may_nothing_a_reader_looks_and_an_admin_does_everything() {
    let ca = open(Access::default()).await;
    let node = ca.node("n1", &[]).await;
    let (web, _) = svid(&ca, &node, WEB, "").await;
    let (bob, _) = svid(&ca, &node, BOB, "reader").await;
    let (alice, _) = svid(&ca, &node, ALICE, "admin").await;
    let mut web = connect(&ca, Some(&web)).await.unwrap();
    denied(look(&mut web).await);
    denied(change(&mut web).await);
    let mut bob = connect(&ca, Some(&bob)).await.unwrap();
    look(&mut bob).await.unwrap();
    bob.list_registrations(ListRegistrationsRequest {}).await.unwrap();
    denied(change(&mut bob).await);
    let mut alice = connect(&ca, Some(&alice)).await.unwrap();
    look(&mut alice).await.unwrap();
    change(&mut alice).await.unwrap();
    // A node is no operator, and neither is the CA's own name.
    let mut as_node = connect(&ca, Some(&node.identity)).await.unwrap();
    denied(look(&mut as_node).await);
}

#[tokio::test]
async fn who_has_no_role_takes_little_room_and_none_of_those_who_have_one() {
    const TOO_MANY: usize = 40;
    let ca = open(Access::default()).await;
    let node = ca.node("n1", &[]).await;
    let (web, _) = svid(&ca, &node, WEB, "").await;
    let (alice, _) = svid(&ca, &node, ALICE, "admin").await;
    let mut operators = Vec::new();
    for _ in 0..TOO_MANY {
        operators.push(connect(&ca, Some(&alice)).await.unwrap());
    }
    let mut strangers = Vec::new();
    for _ in 0..TOO_MANY {
        strangers.extend(connect(&ca, Some(&web)).await);
    }
    assert!(
        !strangers.is_empty() && strangers.len() < TOO_MANY,
        "{}",
        strangers.len()
    );
    for operator in &mut operators {
        look(operator).await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_may_ask_whether_the_ca_is_well_and_who_has_no_role_may_not() {
    let ca = open(Access::default()).await;
    let node = ca.node("n1", &[]).await;
    let (web, _) = svid(&ca, &node, WEB, "").await;
    let (bob, _) = svid(&ca, &node, BOB, "reader").await;
    let address = ca.server.operators().unwrap();
    let ask = async |identity: &SvidKeyPair, name: &str| {
        let channel = channel(address, Some(identity), ca.bundles()).await.unwrap();
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let answer = HealthClient::new(channel).check(request).await;
        answer.map(|answer| answer.into_inner().status())
    };
    for name in ["", "signet.ca.v1.NodeService"] {
        assert_eq!(ask(&bob, name).await.unwrap(), ServingStatus::Serving);
    }
    assert_eq!(ask(&bob, "other").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(ask(&web, "").await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn nobody_gets_in_without_an_svid_of_the_trust_domain() {
    let ca = open(Access {
        admins: ids(&[ALICE]),
        readers: Principals::default(),
    })
    .await;
    let anonymous = connect(&ca, None).await;
    if let Ok(mut anonymous) = anonymous {
        assert!(look(&mut anonymous).await.is_err(), "without a certificate");
    }
    // Another CA of the same name, and one of another name, both of which sign for alice.
    for domain in ["td", "other"] {
        let domain = TrustDomain::parse(domain).unwrap();
        let now = UnixTime::now();
        let life = std::time::Duration::from_hours(1);
        let foreign = Authority::create(
            domain.clone(),
            SigningKey::generate().unwrap(),
            Serial::from_random([1; 16]),
            now,
            life,
        )
        .unwrap();
        let (key, csr) = request();
        let key_asked = RequestedKey::from_request(&csr).unwrap();
        let id = SpiffeId::parse(&format!("spiffe://{}/ops/alice", domain.as_str())).unwrap();
        let svid = foreign
            .issue(&key_asked, &id, life, Serial::from_random([2; 16]), now)
            .unwrap();
        let wire = signet_proto::ca::v1::Svid {
            chain: svid.chain.iter().map(|one| one.to_vec()).collect(),
            ..Default::default()
        };
        if let Ok(mut operator) = connect(&ca, Some(&pair(&key, &wire))).await {
            assert!(look(&mut operator).await.is_err(), "of another authority");
        }
    }
}

#[tokio::test]
async fn who_loses_the_role_or_the_svid_is_out_on_the_open_connection() {
    let ca = open(Access::default()).await;
    let node = ca.node("n1", &[]).await;
    let (alice, registration) = svid(&ca, &node, ALICE, "admin").await;
    let mut alice = connect(&ca, Some(&alice)).await.unwrap();
    change(&mut alice).await.unwrap();
    let demote = UpdateRegistrationRequest {
        id: registration.clone(),
        role: Some("reader".to_owned()),
        ..UpdateRegistrationRequest::default()
    };
    ca.operator.clone().update_registration(demote).await.unwrap();
    denied(change(&mut alice).await);
    look(&mut alice).await.unwrap();
    let revoke = RevokeRequest {
        subject: Some(Subject::SpiffeId(ALICE.to_owned())),
        reason: "key-compromise".to_owned(),
        ..RevokeRequest::default()
    };
    ca.operator.clone().revoke(revoke).await.unwrap();
    let refused = look(&mut alice).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
}

#[tokio::test]
async fn an_id_that_is_registered_once_more_without_the_role_has_it_nowhere() {
    let ca = open(Access::default()).await;
    let node = ca.node("n1", &[]).await;
    ca.node("n2", &[]).await;
    let (alice, _) = svid(&ca, &node, ALICE, "admin").await;
    let mut alice = connect(&ca, Some(&alice)).await.unwrap();
    change(&mut alice).await.unwrap();
    let other = ca.register(ALICE, "n2", "unix:uid:2").await.unwrap();
    denied(look(&mut alice).await);
    let gone = signet_proto::ca::v1::DeregisterRequest { id: other.id };
    ca.operator.clone().deregister(gone).await.unwrap();
    change(&mut alice).await.unwrap();
}

#[tokio::test]
async fn the_command_line_names_operators_and_the_log_names_who_did_what() {
    let ca = open(Access {
        admins: ids(&[ALICE]),
        readers: ids(&[BOB]),
    })
    .await;
    let node = ca.node("n1", &[]).await;
    let (alice, _) = svid(&ca, &node, ALICE, "").await;
    let (bob, _) = svid(&ca, &node, BOB, "").await;
    let mut bob = connect(&ca, Some(&bob)).await.unwrap();
    look(&mut bob).await.unwrap();
    denied(change(&mut bob).await);
    let mut alice = connect(&ca, Some(&alice)).await.unwrap();
    let revoke = RevokeRequest {
        subject: Some(Subject::SpiffeId(BOB.to_owned())),
        reason: "gone".to_owned(),
        ..RevokeRequest::default()
    };
    let made = alice
        .revoke(revoke)
        .await
        .unwrap()
        .into_inner()
        .revocation
        .unwrap();
    assert_eq!(made.by, ALICE);
}

#[tokio::test]
async fn without_being_told_so_the_ca_has_no_door_for_remote_operators() {
    let ca = Running::in_memory().await;
    assert_eq!(ca.server.operators(), None);
    let node = ca.node("n1", &[]).await;
    let (alice, _) = svid(&ca, &node, ALICE, "admin").await;
    // The nodes' port speaks no operators' language, and takes no workload at all.
    let knocked = channel(ca.server.address(), Some(&alice), ca.bundles()).await;
    if let Ok(channel) = knocked {
        let knocked = look(&mut OperatorServiceClient::new(channel)).await;
        assert!(knocked.is_err(), "on the nodes' port");
    }
    let as_node = channel(ca.server.address(), Some(&node.identity), ca.bundles())
        .await
        .unwrap();
    let refused = look(&mut OperatorServiceClient::new(as_node)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
}

/// Connects as another user, and says what came of looking and of changing something.
fn as_user(socket: &std::path::Path, uid: u32, gid: u32, groups: &[u32]) -> [bool; 2] {
    use std::process::Command;
    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
    let groups = match groups.as_slice() {
        [] => vec!["--clear-groups".to_owned()],
        some => vec![format!("--groups={}", some.join(","))],
    };
    let test = std::env::current_exe().unwrap();
    ["look", "change"].map(|what| {
        let output = Command::new("setpriv")
            .arg(format!("--reuid={uid}"))
            .arg(format!("--regid={gid}"))
            .args(&groups)
            .arg(&test)
            .args([
                "--exact",
                "remote_operators::the_other_user_s_side",
                "--nocapture",
            ])
            .env("SIGNET_TEST_SOCKET", socket)
            .env("SIGNET_TEST_CALL", what)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains("it was "),
            "{said} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        said.contains("it was done")
    })
}

/// Does something only in the process that the test below starts.
#[tokio::test]
async fn the_other_user_s_side() {
    let Some(socket) = std::env::var_os("SIGNET_TEST_SOCKET") else {
        return;
    };
    let mut operator = OperatorServiceClient::new(signet_uds::connect(socket.as_ref()).unwrap());
    let done = match std::env::var("SIGNET_TEST_CALL").as_deref() {
        Ok("look") => look(&mut operator).await,
        _ => change(&mut operator).await,
    };
    match done {
        Ok(()) => println!("it was done"),
        Err(status) => println!("it was refused: {status}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_groups_of_the_command_line_get_what_they_are_given_on_the_socket() {
    let directory = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let some = |uid, gid| Principals {
        uids: BTreeSet::from([uid]),
        gids: BTreeSet::from([gid]),
        ids: BTreeSet::new(),
    };
    let operations = Operations {
        access: Access {
            admins: some(60_001, 60_101),
            readers: some(60_002, 60_102),
        },
        ..Operations::default()
    };
    let ca = Running::configured(Storage::Memory, directory, |config| {
        config.operations = operations;
    })
    .await
    .unwrap();
    let socket = ca.directory.path().join("ca.sock");
    let as_user = move |uid, gid, groups: &'static [u32]| {
        let socket = socket.clone();
        tokio::task::spawn_blocking(move || as_user(&socket, uid, gid, groups))
    };
    for (uid, gid, groups, wanted) in [
        (60_001, 60_000, &[][..], [true, true]),
        (60_002, 60_000, &[][..], [true, false]),
        (60_003, 60_000, &[60_101][..], [true, true]),
        (60_003, 60_102, &[][..], [true, false]),
        (60_003, 60_000, &[60_103][..], [false, false]),
        (60_003, 60_000, &[][..], [false, false]),
    ] {
        assert_eq!(
            as_user(uid, gid, groups).await.unwrap(),
            wanted,
            "{uid} {gid} {groups:?}"
        );
    }
}
