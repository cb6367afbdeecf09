//! Sends notifications of every face: sealed anew for each attempt, repeated until accepted, held, lost or forged on command.

use std::{collections::BTreeMap, sync::Arc, sync::Mutex, time::Duration};

use bytes::Bytes;
use http::{HeaderName, StatusCode};
use time::OffsetDateTime;
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    RetryPolicy,
    book::Refusal,
    control::{Attempt, Delivery, DeliveryState, NotifyOptions},
    faults::Faults,
    locked,
};
use crate::clock::Clock;

/// So many notifications are on the wire at once.
const CONCURRENT_MAX: usize = 32;
/// So many deliveries are remembered; the oldest are forgotten first.
const DELIVERIES_MAX: usize = 100_000;
/// Copies of one notification.
const DUPLICATE_MAX: u32 = 20;
/// Longest delay on command, in milliseconds: ten minutes.
const DELAY_MS_MAX: u64 = 600_000;
/// So long a notification waits for another one that it lets go first.
const REORDER_TIME_MAX: Duration = Duration::from_secs(2);

/// A notification as its gateway writes it.
pub(super) struct Letter {
    pub event_id: String,
    /// `payment_succeeded`, `refund_finished` or `refund_abnormal`, whatever the gateway calls it.
    pub event_type: &'static str,
    /// Our order number or refund number.
    pub subject: String,
    pub url: String,
    pub body: Bytes,
    /// Another one that tells a larger amount, to be sent under this one's signature.
    pub tampered: Bytes,
    pub seal: Arc<dyn Seal>,
}

/// How a gateway signs a notification, and what it takes for a receipt.
pub(super) trait Seal: Send + Sync {
    /// The headers over a body, at a time.
    fn headers(&self, at: OffsetDateTime, signed: &[u8]) -> Vec<(HeaderName, String)>;

    /// Whether the receiver has taken it.
    fn is_accepted(&self, code: StatusCode, _body: &[u8]) -> bool {
        code.is_success()
    }
}

/// A notification to send.
#[derive(Clone)]
struct Parcel {
    number: u64,
    url: String,
    /// What is sent.
    body: Bytes,
    /// What is sent the first time instead.
    first: Option<Bytes>,
    /// What the signature covers: the same, unless tampered.
    signed: Bytes,
    /// Another one goes first.
    waits: bool,
    seal: Arc<dyn Seal>,
}

pub(super) struct Courier {
    http: reqwest::Client,
    clock: Clock,
    retry: RetryPolicy,
    tasks: TaskTracker,
    stop: CancellationToken,
    permits: Semaphore,
    log: Mutex<Log>,
    /// What is held back; `None` when nothing is.
    held: Mutex<Option<Vec<Parcel>>>,
    /// What lets another one go first.
    waiting: Mutex<Vec<Parcel>>,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Log {
    next: u64,
    deliveries: BTreeMap<u64, Delivery>,
}

impl Courier {
    pub(super) fn new(
        clock: Clock,
        retry: RetryPolicy,
        tasks: TaskTracker,
        stop: CancellationToken,
        faults: Arc<Faults>,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(retry.answer_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Courier {
            http,
            clock,
            retry,
            tasks,
            stop,
            permits: Semaphore::new(CONCURRENT_MAX),
            log: Mutex::default(),
            held: Mutex::default(),
            waiting: Mutex::default(),
            faults,
        })
    }

    /// Takes a letter to its receiver as the options say, or as the standing faults have it when they say nothing.
    pub(super) fn send(self: &Arc<Self>, letter: &Letter, options: &NotifyOptions) -> Result<(), Refusal> {
        if letter.url.is_empty() {
            return Ok(());
        }
        if options.duplicate > DUPLICATE_MAX || options.delay_ms > DELAY_MS_MAX {
            let most = format!("at most {DUPLICATE_MAX} copies and {DELAY_MS_MAX} ms of delay");
            return Err(Refusal::Invalid(most));
        }
        let standing = self.faults.of_letter(letter.event_type, &letter.subject);
        let options = if *options == NotifyOptions::default() {
            &standing
        } else {
            options
        };
        let body = if options.tamper { &letter.tampered } else { &letter.body };
        for _ in 0..=options.duplicate {
            let state = if options.lose {
                DeliveryState::Lost
            } else {
                DeliveryState::Sending
            };
            let number = self.record(letter, options, state);
            if options.lose {
                return Ok(());
            }
            let parcel = Parcel {
                number,
                url: letter.url.clone(),
                body: body.clone(),
                first: options.corrupt.then(|| letter.tampered.clone()),
                signed: letter.body.clone(),
                waits: options.reorder,
                seal: letter.seal.clone(),
            };
            if options.delay_ms == 0 {
                self.hand_over(parcel);
                continue;
            }
            let courier = self.clone();
            let delay = Duration::from_millis(options.delay_ms);
            self.spawn(async move {
                sleep(delay).await;
                courier.hand_over(parcel);
            });
        }
        Ok(())
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        locked(&self.log).deliveries.values().cloned().collect()
    }

    /// Keeps everything back from now on.
    pub(super) fn hold(&self) {
        locked(&self.held).get_or_insert_default();
    }

    /// Sends what was kept back, each when the one before has been answered; returns how many.
    pub(super) fn release(self: &Arc<Self>, reverse: bool) -> usize {
        let mut parcels = locked(&self.held).take().unwrap_or_default();
        if reverse {
            parcels.reverse();
        }
        let released = parcels.len();
        for parcel in &parcels {
            self.set_state(parcel.number, DeliveryState::Sending);
        }
        let courier = self.clone();
        self.spawn(async move {
            for parcel in parcels {
                courier.deliver(parcel).await;
            }
        });
        released
    }

    fn record(&self, letter: &Letter, options: &NotifyOptions, state: DeliveryState) -> u64 {
        let mut log = locked(&self.log);
        log.next += 1;
        let number = log.next;
        let delivery = Delivery {
            number,
            event_id: letter.event_id.clone(),
            event_type: letter.event_type.to_owned(),
            subject: letter.subject.clone(),
            tampered: options.tamper,
            corrupted: options.corrupt,
            state,
            attempts: Vec::new(),
        };
        log.deliveries.insert(number, delivery);
        if log.deliveries.len() > DELIVERIES_MAX {
            log.deliveries.pop_first();
        }
        number
    }

    fn set_state(&self, number: u64, state: DeliveryState) {
        if let Some(delivery) = locked(&self.log).deliveries.get_mut(&number) {
            delivery.state = state;
        }
    }

    /// Holds the parcel back, lets another one go first, or sends it.
    fn hand_over(self: &Arc<Self>, parcel: Parcel) {
        let parcel = match locked(&self.held).as_mut() {
            Some(held) => {
                self.set_state(parcel.number, DeliveryState::Held);
                held.push(parcel);
                return;
            }
            None => parcel,
        };
        let courier = self.clone();
        if parcel.waits {
            let number = parcel.number;
            locked(&self.waiting).push(parcel);
            self.spawn(async move {
                sleep(REORDER_TIME_MAX).await;
                courier.deliver_waiting(|parcel| parcel.number == number).await;
            });
            return;
        }
        self.spawn(async move {
            courier.deliver(parcel).await;
            courier.deliver_waiting(|_| true).await;
        });
    }

    /// Sends for the first time, and repeats it later if that was in vain.
    async fn deliver(self: &Arc<Self>, mut parcel: Parcel) {
        if !self.attempt(&parcel).await {
            parcel.first = None;
            self.clone().retry_later(parcel);
        }
    }

    /// Sends what has let another one go first.
    async fn deliver_waiting(self: &Arc<Self>, is_next: impl Fn(&Parcel) -> bool) {
        let next: Vec<Parcel> = locked(&self.waiting).extract_if(.., |parcel| is_next(parcel)).collect();
        for parcel in next {
            self.deliver(parcel).await;
        }
    }

    /// Repeats the parcel, after its failed first attempt, with growing pauses.
    fn retry_later(self: Arc<Self>, parcel: Parcel) {
        let courier = self.clone();
        self.spawn(async move {
            let mut pause = courier.retry.pause_first;
            for _ in 1..courier.retry.attempts_max {
                sleep(pause.min(courier.retry.pause_max)).await;
                if courier.attempt(&parcel).await {
                    return;
                }
                pause = pause.saturating_mul(2);
            }
            courier.set_state(parcel.number, DeliveryState::GivenUp);
        });
    }

    /// Sends once and writes down what came back; true when it was accepted.
    async fn attempt(&self, parcel: &Parcel) -> bool {
        let Ok(_permit) = self.permits.acquire().await else {
            return false;
        };
        let at = self.clock.now();
        let mut request = self
            .http
            .post(&parcel.url)
            .header(http::header::CONTENT_TYPE, "application/json");
        for (name, value) in parcel.seal.headers(at, &parcel.signed) {
            request = request.header(name, value);
        }
        let body = parcel.first.as_ref().unwrap_or(&parcel.body);
        let answer = match request.body(body.clone()).send().await {
            Ok(response) => {
                let code = response.status();
                response.bytes().await.map(|body| (code, body))
            }
            Err(error) => Err(error),
        };
        let (code, accepted, error) = match answer {
            Ok((code, body)) => (Some(code), parcel.seal.is_accepted(code, &body), None),
            Err(error) => (None, false, Some(error.to_string())),
        };
        if let Some(delivery) = locked(&self.log).deliveries.get_mut(&parcel.number) {
            delivery.attempts.push(Attempt {
                at,
                code: code.map(|code| code.as_u16()),
                error,
            });
            if accepted {
                delivery.state = DeliveryState::Accepted;
            }
        }
        accepted
    }

    /// Runs a task that ends when the simulator stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}
