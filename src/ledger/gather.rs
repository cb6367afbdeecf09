//! Readers that ask at the same time share one query.
//!
//! Nobody waits for others to come: whoever asks while a query is out is in the next one. A query begins after each of its
//! questions was asked, so that an answer shows everything that was committed before the question.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::LedgerError;

/// Queries that are out at the same time.
const QUERIES_MAX: usize = 2;
/// Questions of one query.
const QUESTIONS_MAX: usize = 64;

type Answer<A> = Result<A, LedgerError>;
type Query<Q, A> = Box<dyn Fn(Vec<Q>) -> BoxFuture<'static, Answer<Vec<A>>> + Send + Sync>;

/// Questions of one kind, and the query that answers many of them. Cheap to clone; all clones ask together.
pub struct Gather<Q, A>(Arc<Inner<Q, A>>);

struct Inner<Q, A> {
    query: Query<Q, A>,
    desk: Mutex<Desk<Q, A>>,
}

struct Desk<Q, A> {
    waiting: VecDeque<(Q, oneshot::Sender<Answer<A>>)>,
    /// Queries that are out.
    out: usize,
}

impl<Q, A> Clone for Gather<Q, A> {
    fn clone(&self) -> Gather<Q, A> {
        Gather(self.0.clone())
    }
}

impl<Q: Send + 'static, A: Send + 'static> Gather<Q, A> {
    /// `query` answers each question, in the order of the questions.
    pub fn new(query: impl Fn(Vec<Q>) -> BoxFuture<'static, Answer<Vec<A>>> + Send + Sync + 'static) -> Gather<Q, A> {
        let desk = Mutex::new(Desk {
            waiting: VecDeque::new(),
            out: 0,
        });
        let query = Box::new(query);
        Gather(Arc::new(Inner { query, desk }))
    }

    /// Asks, together with whoever else asks now.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn ask(&self, question: Q) -> Answer<A> {
        let (sender, answer) = oneshot::channel();
        let begins = {
            let mut desk = self.0.desk.lock().unwrap_or_else(PoisonError::into_inner);
            desk.waiting.push_back((question, sender));
            let begins = desk.out < QUERIES_MAX;
            desk.out += usize::from(begins);
            begins
        };
        if begins {
            tokio::spawn(answer_all(Turn(self.0.clone())));
        }
        answer.await.unwrap_or(Err(LedgerError::Internal))
    }
}

/// The right to have one query out.
struct Turn<Q, A>(Arc<Inner<Q, A>>);

impl<Q, A> Turn<Q, A> {
    /// Takes what waits and is still waited for. None if that is nothing; the turn is then over.
    fn take(&self) -> Option<Vec<(Q, oneshot::Sender<Answer<A>>)>> {
        let mut desk = self.0.desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.waiting.retain(|(_, sender)| !sender.is_closed());
        let count = desk.waiting.len().min(QUESTIONS_MAX);
        if count == 0 {
            desk.out -= 1;
            return None;
        }
        Some(desk.waiting.drain(..count).collect())
    }
}

async fn answer_all<Q: Send + 'static, A: Send + 'static>(turn: Turn<Q, A>) {
    while let Some(taken) = turn.take() {
        let (questions, senders): (Vec<Q>, Vec<_>) = taken.into_iter().unzip();
        let inner = turn.0.clone();
        // In a task of its own: should it panic, those who asked are told, and the turn goes on.
        let answered = tokio::spawn(async move { (inner.query)(questions).await }).await;
        // Whoever has hung up needs no answer.
        match answered.unwrap_or(Err(LedgerError::Internal)) {
            Ok(answers) => senders
                .into_iter()
                .zip(answers)
                .for_each(|(sender, answer)| drop(sender.send(Ok(answer)))),
            Err(error) => senders
                .into_iter()
                .for_each(|sender| drop(sender.send(Err(error.clone())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{FutureExt as _, future::join_all};

    use super::*;

    #[tokio::test]
    async fn each_gets_the_answer_to_its_own_question() {
        let queries = Arc::new(AtomicUsize::new(0));
        let counted = queries.clone();
        let doubling = Gather::new(move |questions: Vec<usize>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                Ok(questions.into_iter().map(|question| question * 2).collect())
            }
            .boxed()
        });
        let answers = join_all((0..1000).map(|question| doubling.ask(question))).await;
        for (question, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), question * 2);
        }
        let queries = queries.load(Ordering::Relaxed);
        assert!((16..200).contains(&queries), "{queries} queries");
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_and_the_next_are_answered() {
        let fails = Gather::new(|questions: Vec<usize>| {
            async move {
                match questions.iter().max() {
                    Some(0) => panic!("as it happens"),
                    Some(1) => Err(LedgerError::Unavailable),
                    _ => Ok(questions),
                }
            }
            .boxed()
        });
        for _ in 0..5 {
            assert!(matches!(fails.ask(0).await, Err(LedgerError::Internal)));
            assert!(matches!(fails.ask(1).await, Err(LedgerError::Unavailable)));
            assert_eq!(fails.ask(2).await.unwrap(), 2);
        }
    }
}
