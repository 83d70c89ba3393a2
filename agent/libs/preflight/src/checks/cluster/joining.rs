//! Whether the cluster takes this build, under this name.

use crate::finding::Finding;
use crate::subject::Subject;

/// PF-VER.
pub(in crate::checks) fn version(subject: &Subject) -> Vec<Finding> {
    let cluster = &subject.cluster;
    let found = match (&cluster.version_problem, &cluster.release) {
        (Some(problem), _) => Finding::fail(problem.clone())
            .want("the release of the cluster or the one after it")
            .why("other releases do not understand each other's calls and tables")
            .fix("install a release in between first"),
        (None, Some(release)) => Finding::pass(format!("the cluster is release {release}")),
        (None, None) => Finding::skip("nobody of a cluster answered: it is new, or cannot be reached yet"),
    };
    vec![found]
}

/// PF-NAME.
pub(in crate::checks) fn name(subject: &Subject) -> Vec<Finding> {
    let cluster = &subject.cluster;
    let name = &subject.input.node.node_name;
    if let Some(problem) = &cluster.identity_problem {
        // Whoever has the name may be this very node: nothing is advised that would take it out of the cluster.
        let file = subject.input.node.storage_path.join("node_uuid");
        let found = Finding::fail(format!("the identity file cannot be read: {problem}"))
            .want("the identity that this node has in the cluster")
            .why("without it nobody can tell whether the name is this node's own")
            .fix(match &cluster.name_holder {
                Some(holder) => format!(
                    "restore {} from a backup; {name} is registered as {holder}, which belongs in it if that is this node",
                    file.display()
                ),
                None => format!("restore {} from a backup, or make it readable", file.display()),
            });
        return vec![found];
    }
    let found = match &cluster.name_holder {
        None if cluster.name_asked => Finding::pass(format!("{name} is free")),
        None => Finding::skip("no gateway of a cluster answered"),
        Some(holder) if cluster.own_uuid.as_deref() == Some(holder.as_str()) => {
            Finding::pass(format!("{name} is this node"))
        }
        Some(holder) => Finding::fail(format!("{name} is registered as {holder}"))
            .want("a name of its own")
            .why("two nodes would overwrite each other")
            .fix(format!(
                "`sf-ctl node deregister {holder}` when that node is gone for good, or set sf_node_name"
            )),
    };
    vec![found]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::subject::ClusterFacts;
    use crate::system::fake::subject;

    fn in_cluster(cluster: ClusterFacts) -> Subject {
        Subject { cluster, ..subject(&[]) }
    }

    #[test]
    fn a_release_that_does_not_fit_is_refused() {
        let known = || ClusterFacts { release: Some("0.1".into()), ..ClusterFacts::default() };
        assert_eq!(version(&in_cluster(known()))[0].level, Level::Pass);
        let misfit = ClusterFacts { version_problem: Some("too new".into()), ..known() };
        assert_eq!(version(&in_cluster(misfit))[0].level, Level::Fail);
        assert_eq!(version(&subject(&[]))[0].level, Level::Skip);
    }

    #[test]
    fn a_name_belongs_to_one_node() {
        let held = |holder: &str, own: Option<&str>| ClusterFacts {
            name_asked: true,
            name_holder: Some(holder.into()),
            own_uuid: own.map(str::to_owned),
            ..ClusterFacts::default()
        };
        assert_eq!(name(&in_cluster(held("a", Some("a"))))[0].level, Level::Pass);
        assert_eq!(name(&in_cluster(held("a", Some("b"))))[0].level, Level::Fail);
        assert_eq!(name(&in_cluster(held("a", None)))[0].level, Level::Fail);
        let damaged = |holder: Option<&str>| ClusterFacts {
            name_asked: true,
            name_holder: holder.map(str::to_owned),
            identity_problem: Some("invalid length".into()),
            ..ClusterFacts::default()
        };
        for holder in [Some("a"), None] {
            let found = name(&in_cluster(damaged(holder))).remove(0);
            assert_eq!(found.level, Level::Fail);
            assert!(found.got.contains("invalid length") && !found.fix.contains("deregister"), "{found:?}");
        }
        let asked = ClusterFacts { name_asked: true, ..ClusterFacts::default() };
        assert_eq!(name(&in_cluster(asked))[0].level, Level::Pass);
        let database_alone = ClusterFacts { release: Some("0.1".into()), ..ClusterFacts::default() };
        assert_eq!(name(&in_cluster(database_alone))[0].level, Level::Skip, "nobody was asked about names");
    }
}
