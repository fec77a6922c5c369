//! What several nodes said, and which of them said nothing.

use crate::clients::Node;
use crate::failure::{DONE, Failure, UNREACHABLE};
use crate::output::Output;
use crate::target::Target;

/// Answers of nodes. One that is dead does not hide what the others say.
#[derive(Debug)]
pub(crate) struct Heard<T> {
    /// Of those that answered, in order.
    pub(crate) answers: Vec<T>,
    missing: Missing,
}

/// Nodes that did not answer, and why.
#[derive(Debug, Default)]
pub(crate) struct Missing(Vec<(String, Failure)>);

impl Missing {
    /// Notes one.
    pub(crate) fn push(&mut self, node: String, failure: Failure) {
        self.0.push((node, failure));
    }

    /// Names them on standard error; the exit code that follows: 3 where a daemon cannot be reached, else that of the first.
    pub(crate) fn tell(&self, output: &Output) -> u8 {
        for (node, failure) in &self.0 {
            output.warn(&format!("{node} is missing here: {failure}"));
        }
        let codes = || self.0.iter().map(|(_, failure)| failure.exit_code());
        match codes().find(|code| *code == UNREACHABLE) {
            Some(code) => code,
            None => codes().next().unwrap_or(DONE),
        }
    }
}

impl<T> Heard<T> {
    /// Asks all nodes. Where none answers, it fails as the first of them did.
    pub(crate) async fn from(
        target: &Target,
        ask: impl AsyncFn(&Node, &str) -> Result<T, Failure>,
    ) -> Result<Self, Failure> {
        let mut heard = Self {
            answers: Vec::with_capacity(target.nodes.len()),
            missing: Missing::default(),
        };
        for node in &target.nodes {
            let name = node.name().await;
            match ask(node, &name).await {
                Ok(answer) => heard.answers.push(answer),
                Err(failure) => heard.missing.push(name, failure),
            }
        }
        if heard.answers.is_empty() && !heard.missing.0.is_empty() {
            let (_, failure) = heard.missing.0.swap_remove(0);
            return Err(failure);
        }
        Ok(heard)
    }

    /// See [`Missing::tell`].
    pub(crate) fn tell(&self, output: &Output) -> u8 {
        self.missing.tell(output)
    }
}

/// What the first node says that says anything, for what all of them know.
pub(crate) async fn any<T>(
    target: &Target,
    ask: impl AsyncFn(&Node) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut first = None;
    for node in &target.nodes {
        match ask(node).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Failure::Failed("the lab has no nodes".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    fn unreachable() -> Failure {
        Failure::Unreachable {
            daemon: "signet-agent",
            socket: "/x".into(),
            why: "gone".into(),
            hint: String::new(),
        }
    }

    fn target(names: &[&str]) -> Target {
        let folder = std::path::Path::new("/nonexistent");
        Target {
            nodes: names
                .iter()
                .map(|name| Node::new(Some(name), folder).unwrap())
                .collect(),
            ca: crate::clients::Ca::new(&folder.join("ca.sock")).unwrap(),
        }
    }

    #[tokio::test]
    async fn what_others_say_is_kept_beside_who_is_missing_and_the_exit_code_tells() {
        let ask = async |_: &Node, name: &str| match name {
            "n2" => Err(unreachable()),
            name => Ok(name.to_owned()),
        };
        let heard = Heard::from(&target(&["n1", "n2", "n3"]), ask).await.unwrap();
        assert_eq!(heard.answers, ["n1", "n3"]);
        let output = Output::new(Format::Json);
        assert_eq!(heard.tell(&output), UNREACHABLE);
        let all = Heard::from(&target(&["n1"]), ask).await.unwrap();
        assert_eq!(all.tell(&output), DONE);
        let none = Heard::from(&target(&["n2"]), ask).await;
        assert_eq!(none.unwrap_err().exit_code(), UNREACHABLE);
    }

    #[tokio::test]
    async fn what_all_know_is_asked_of_the_first_that_answers() {
        let ask = async |node: &Node| match node.name.as_deref() {
            Some("n1") => Err(unreachable()),
            name => Ok(name.map(str::to_owned)),
        };
        let answer = any(&target(&["n1", "n2", "n3"]), ask).await.unwrap();
        assert_eq!(answer.as_deref(), Some("n2"));
        assert!(any(&target(&["n1"]), ask).await.is_err());
    }
}
