//! WorkService.

use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    convert::{timestamp, transaction_name},
    identity::reason_told,
    name::{CenterName, WorkItemName, subject_in},
    page::Page,
    scope,
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    custody::Custody,
    db::Database,
    jobs::status,
    ledger::Center,
    proto::{
        CancelWorkItemRequest, GetWorkItemRequest, Job, ListJobsRequest, ListJobsResponse, ListWorkItemsRequest,
        ListWorkItemsResponse, ResolveWorkItemRequest, TakeWorkItemRequest, WorkItem, WorkKind, WorkLeg, WorkStep,
        list_work_items_request::View, work_item::State, work_service_server::WorkService,
    },
    work::{self, ByHand, Item, ItemFilter, ItemId, ItemLeg, ItemState, WorkQueue},
};

/// The service over its domain.
#[derive(Clone)]
pub struct WorkApi {
    work: WorkQueue,
    custody: Custody,
    database: Database,
}

impl WorkApi {
    /// The service.
    pub fn new(work: WorkQueue, custody: Custody, database: Database) -> WorkApi {
        WorkApi {
            work,
            custody,
            database,
        }
    }

    async fn named(&self, actor: &Actor, name: &str) -> Result<(Center, ItemId), Status> {
        let name = WorkItemName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, ItemId::read(name.work_item)))
    }

    async fn end(
        &self,
        actor: &Actor,
        name: &str,
        by_hand: ByHand,
        reason: &str,
    ) -> Result<Response<WorkItem>, Status> {
        let (center, id) = self.named(actor, name).await?;
        let reason = reason_told(reason, "reason")?;
        let item = self.work.end(&center, &id, by_hand, &actor.name(), &reason).await?;
        Ok(Response::new(item_out(&item, &center, self.work.now())))
    }
}

fn state_out(state: ItemState) -> State {
    match state {
        ItemState::Open => State::Open,
        ItemState::Taken => State::Taken,
        ItemState::Done => State::Done,
        ItemState::Cancelled => State::Cancelled,
    }
}

fn leg_out(leg: &ItemLeg, center: &Center) -> WorkLeg {
    WorkLeg {
        state: state_out(leg.state).into(),
        time: timestamp(leg.at),
        actor: leg.actor.clone(),
        reason: leg.reason.clone(),
        transaction: leg.seq.map(|seq| transaction_name(center, seq.0)).unwrap_or_default(),
    }
}

fn item_out(item: &Item, center: &Center, now: OffsetDateTime) -> WorkItem {
    let rules = work::rules(item.kind);
    let steps = item.steps(now).into_iter().map(|(from, step, due)| WorkStep {
        due_time: timestamp(from),
        action: step.action.to_owned(),
        action_zh: step.action_zh.to_owned(),
        due,
    });
    let name = WorkItemName {
        center: center.id.as_str(),
        work_item: item.id.as_str(),
    };
    WorkItem {
        name: name.to_string(),
        kind: item.kind.into(),
        title: rules.title.to_owned(),
        title_zh: rules.title_zh.to_owned(),
        subject: format!("centers/{}/{}", center.id, item.subject),
        priority: item.priority.into(),
        state: state_out(item.state()).into(),
        create_time: timestamp(item.opened_at),
        deadline_time: timestamp(item.deadline_at),
        overdue: item.is_overdue(now),
        facts: Some(item.facts.clone()),
        steps: steps.collect(),
        legs: item.legs.iter().map(|leg| leg_out(leg, center)).collect(),
    }
}

/// Where a list goes on: the deadline in nanoseconds, and the id.
fn cursor(item: &Item) -> String {
    format!("{}.{}", item.deadline_at.unix_timestamp_nanos(), item.id)
}

fn after(cursor: &str) -> Option<(OffsetDateTime, String)> {
    let (nanos, id) = cursor.split_once('.')?;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos.parse().ok()?).ok()?;
    Some((at, id.to_owned()))
}

#[tonic::async_trait]
impl WorkService for WorkApi {
    async fn list_jobs(&self, call: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let name = CenterName::parse(&call.get_ref().parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let found = status::all(&self.database, &center, self.work.now()).await?;
        let jobs = found.into_iter().map(|found| Job {
            job: found.job.name.to_owned(),
            title: found.job.title.to_owned(),
            title_zh: found.job.title_zh.to_owned(),
            last_run_time: found.last_run_at.and_then(timestamp),
            last_success_time: found.last_success_at.and_then(timestamp),
            last_error: found.last_error,
            next_due_time: timestamp(found.next_due_at),
            overdue_after: found.job.overdue_s,
            overdue: found.overdue,
        });
        Ok(Response::new(ListJobsResponse { jobs: jobs.collect() }))
    }

    async fn get_work_item(&self, call: Request<GetWorkItemRequest>) -> Result<Response<WorkItem>, Status> {
        let (center, id) = self.named(actor(&call)?, &call.get_ref().name).await?;
        let item = self.work.get(&center, &id).await?;
        Ok(Response::new(item_out(&item, &center, self.work.now())))
    }

    async fn list_work_items(
        &self,
        call: Request<ListWorkItemsRequest>,
    ) -> Result<Response<ListWorkItemsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let view = View::try_from(message.view).map_err(|_| invalid_field("view", "is no view"))?;
        let kind = WorkKind::try_from(message.kind).map_err(|_| invalid_field("kind", "is no kind of work"))?;
        let subject = subject_in(&message.subject, "subject", center.id.as_str())?;
        let (view_no, kind_no) = (message.view.to_string(), message.kind.to_string());
        let arguments = [message.parent.as_str(), &view_no, &kind_no, &message.subject];
        let page = Page::read("ListWorkItems", &arguments, message.page_size, &message.page_token)?;
        let now = self.work.now();
        let filter = ItemFilter {
            open: view != View::All,
            due_before: (view == View::Overdue).then_some(now),
            kind: (kind != WorkKind::Unspecified).then_some(kind),
            subject: subject.map(ToOwned::to_owned),
            after: match page.after() {
                Some(cursor) => {
                    let bad = || invalid_field("page_token", "is not a token of this service");
                    Some(after(cursor).ok_or_else(bad)?)
                }
                None => None,
            },
        };
        let items = self.work.list(&center, &filter, page.limit()).await?;
        let (items, next_page_token) = page.finish(items, cursor);
        Ok(Response::new(ListWorkItemsResponse {
            work_items: items.iter().map(|item| item_out(item, &center, now)).collect(),
            next_page_token,
        }))
    }

    async fn take_work_item(&self, call: Request<TakeWorkItemRequest>) -> Result<Response<WorkItem>, Status> {
        let actor = actor(&call)?;
        let (center, id) = self.named(actor, &call.get_ref().name).await?;
        let item = self.work.take(&center, &id, &actor.name()).await?;
        Ok(Response::new(item_out(&item, &center, self.work.now())))
    }

    async fn resolve_work_item(&self, call: Request<ResolveWorkItemRequest>) -> Result<Response<WorkItem>, Status> {
        let message = call.get_ref();
        self.end(actor(&call)?, &message.name, ByHand::Resolve, &message.reason)
            .await
    }

    async fn cancel_work_item(&self, call: Request<CancelWorkItemRequest>) -> Result<Response<WorkItem>, Status> {
        let message = call.get_ref();
        self.end(actor(&call)?, &message.name, ByHand::Cancel, &message.reason)
            .await
    }
}
