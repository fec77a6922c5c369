//! What operators are told by the command line, and what each call needs. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use signet_registry::Role;
use signet_spiffe::SpiffeId;

use crate::audit::AuditLog;

/// How the CA is operated.
#[derive(Debug, Clone, Default)]
pub struct Operations {
    /// Where the audit stream goes; `None`: nowhere.
    pub audit: Option<AuditLog>,
    /// Who may operate it beside root and the CA's own user.
    pub access: Access,
    /// Where operators connect over mutual TLS; `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

/// Who may operate the CA beside root and its own user, and the registrations that say so.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Everything.
    pub admins: Principals,
    /// Looking.
    pub readers: Principals,
}

/// Users, groups and SPIFFE IDs.
#[derive(Debug, Clone, Default)]
pub struct Principals {
    /// Unix users.
    pub uids: BTreeSet<u32>,
    /// Unix groups, whoever is a member.
    pub gids: BTreeSet<u32>,
    /// By SVID.
    pub ids: BTreeSet<SpiffeId>,
}

impl Access {
    /// Whether anybody but root and the own user may use the socket.
    pub(crate) fn opens_socket(&self) -> bool {
        [&self.admins, &self.readers]
            .into_iter()
            .any(|some| !some.uids.is_empty() || !some.gids.is_empty())
    }

    /// What a process may: `groups` are asked for only if they could matter.
    pub(crate) fn of_process(&self, uid: u32, own: u32, groups: impl FnOnce() -> Vec<u32>) -> Option<Role> {
        if uid == 0 || uid == own || self.admins.uids.contains(&uid) {
            return Some(Role::Admin);
        }
        let by_group = !self.admins.gids.is_empty() || !self.readers.gids.is_empty();
        let groups = if by_group { groups() } else { Vec::new() };
        let member = |gids: &BTreeSet<u32>| groups.iter().any(|gid| gids.contains(gid));
        if member(&self.admins.gids) {
            Some(Role::Admin)
        } else if self.readers.uids.contains(&uid) || member(&self.readers.gids) {
            Some(Role::Reader)
        } else {
            None
        }
    }

    /// What a SPIFFE ID may by the command line alone.
    pub(crate) fn of_id(&self, id: &SpiffeId) -> Option<Role> {
        if self.admins.ids.contains(id) {
            Some(Role::Admin)
        } else if self.readers.ids.contains(id) {
            Some(Role::Reader)
        } else {
            None
        }
    }
}

/// Calls that change nothing. A signed checkpoint says what is.
const READS: [&str; 16] = [
    "Bundle",
    // Of grpc.health.v1.
    "Check",
    "GetCrl",
    "ListAuthorities",
    "ListFederation",
    "ListIdentities",
    "ListNodeEntries",
    "ListNodes",
    "ListRegistrations",
    "ListRevocations",
    "ProveLogEntry",
    "ProveLogGrowth",
    "ReadLog",
    "SignLogCheckpoint",
    "Status",
    "Watch",
];

/// What role a call needs. One that nobody thought of here needs the highest.
pub(crate) fn needs(method: &str) -> Role {
    if READS.contains(&method) {
        Role::Reader
    } else {
        Role::Admin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let id = |name: &str| SpiffeId::parse(&format!("spiffe://td/{name}")).unwrap();
        let principals = |uid, gid, name| Principals {
            uids: BTreeSet::from([uid]),
            gids: BTreeSet::from([gid]),
            ids: BTreeSet::from([id(name)]),
        };
        Access {
            admins: principals(10, 100, "admin"),
            readers: principals(20, 200, "reader"),
        }
    }

    #[test]
    fn a_process_is_judged_by_its_user_and_its_groups() {
        let access = access();
        for (uid, groups, role) in [
            (0, vec![], Some(Role::Admin)),
            (77, vec![], Some(Role::Admin)),
            (10, vec![], Some(Role::Admin)),
            (11, vec![5, 100], Some(Role::Admin)),
            (20, vec![], Some(Role::Reader)),
            (20, vec![100], Some(Role::Admin)),
            (11, vec![200], Some(Role::Reader)),
            (11, vec![5], None),
            (11, vec![], None),
        ] {
            assert_eq!(
                access.of_process(uid, 77, || groups.clone()),
                role,
                "{uid} {groups:?}"
            );
        }
        let closed = Access::default();
        assert_eq!(closed.of_process(11, 77, || panic!("nobody asks")), None);
        assert!(access.opens_socket() && !closed.opens_socket());
    }

    #[test]
    fn a_spiffe_id_is_judged_by_all_of_itself() {
        let access = access();
        let of = |id: &str| access.of_id(&SpiffeId::parse(id).unwrap());
        assert_eq!(of("spiffe://td/admin"), Some(Role::Admin));
        assert_eq!(of("spiffe://td/reader"), Some(Role::Reader));
        for other in [
            "spiffe://td/admin/x",
            "spiffe://td2/admin",
            "spiffe://td/Admin",
            "spiffe://td",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn what_changes_something_needs_an_admin_and_so_does_what_is_new() {
        for method in [
            "Register",
            "Revoke",
            "SetEncryption",
            "CreateJoinToken",
            "RegisterAll",
            "Later",
            "",
        ] {
            assert_eq!(needs(method), Role::Admin, "{method}");
        }
        assert!(READS.iter().all(|method| needs(method) == Role::Reader));
    }
}
