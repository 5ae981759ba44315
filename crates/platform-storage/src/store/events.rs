//! Events of instances.

use documents::PartitionKey;
use ledger::Transaction;
use uuid::Uuid;

use super::{Stored, View, to_document};
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::EVENTS_PER_INSTANCE_MAX;
use crate::model::{DataElement, Instance, InstanceEvent, Moment};

/// An instance's id as its events and its readers know it: `{party}/{guid}`.
pub(crate) fn instance_id(instance: &Instance) -> String {
    match instance.id.split_once('/') {
        Some(_) => instance.id.clone(),
        None => format!("{}/{}", instance.party(), instance.id),
    }
}

impl Platform {
    /// An event that the server itself writes.
    pub(crate) fn event(
        &self,
        kind: &str,
        instance: &Instance,
        element: Option<&DataElement>,
        caller: &Caller,
    ) -> InstanceEvent {
        InstanceEvent {
            id: Some(self.random.uuid()),
            instance_id: Some(instance_id(instance)),
            data_id: element.map(|element| element.id.clone()),
            created: Some(Moment::stamped(self.clock.now())),
            event_type: Some(kind.to_owned()),
            instance_owner_party_id: instance.instance_owner.party_id.clone(),
            user: Some(caller.as_platform_user()),
            process_info: instance.process.clone(),
            ..InstanceEvent::default()
        }
    }

    /// Stages an event of `instance`, and that the portal is told of it. The event's own instance id, id and time
    /// must be set.
    pub(crate) async fn stage_event(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance: &Instance,
        event: &InstanceEvent,
    ) -> Result<(), PlatformError> {
        self.documents
            .stage_create(tx, &view.containers.instance_events, to_document(event)?)
            .await?;
        self.stage_sync(tx, view, instance, event).await
    }

    /// One event.
    pub(crate) async fn stored_event(
        &self,
        view: &View,
        instance_id: &str,
        event: &Uuid,
    ) -> Result<Option<InstanceEvent>, PlatformError> {
        let item = self
            .documents
            .read_item_text(
                view.snapshot(),
                &view.containers.instance_events,
                &PartitionKey::string(instance_id),
                &event.to_string(),
            )
            .await?;
        Ok(item
            .map(Stored::<InstanceEvent>::read)
            .transpose()?
            .map(|stored| stored.value))
    }

    /// All events of an instance: by their time, then as they came.
    pub(crate) async fn stored_events(
        &self,
        view: &View,
        instance_id: &str,
    ) -> Result<Vec<Stored<InstanceEvent>>, PlatformError> {
        let items = self
            .documents
            .read_partition_texts(
                view.snapshot(),
                &view.containers.instance_events,
                &PartitionKey::string(instance_id),
                EVENTS_PER_INSTANCE_MAX,
            )
            .await?;
        let mut events = items
            .into_iter()
            .map(Stored::read)
            .collect::<Result<Vec<Stored<InstanceEvent>>, _>>()?;
        events.sort_by_key(|event| event.value.created);
        Ok(events)
    }

    /// Stages the removal of an event.
    pub(crate) async fn stage_event_removal(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance_id: &str,
        event: &Stored<InstanceEvent>,
    ) -> Result<(), PlatformError> {
        let id = event.value.id.map(|id| id.to_string()).unwrap_or_default();
        self.documents
            .stage_delete(
                tx,
                view.snapshot(),
                &view.containers.instance_events,
                &PartitionKey::string(instance_id),
                &id,
                Some(&event.etag),
            )
            .await?;
        Ok(())
    }
}
