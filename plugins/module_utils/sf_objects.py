# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
"""Networks and instances alike: found by name or UUID, immutable but for their metadata, made and removed by the cloud in
its own time."""
from __future__ import annotations

import functools
import uuid

from ansible_collections.shakenfist.cloud.plugins.module_utils import sf_metadata
from ansible_collections.shakenfist.cloud.plugins.module_utils.sf_api import ApiError, quoted
from ansible_collections.shakenfist.cloud.plugins.module_utils.sf_task import HIDDEN, HIDDEN_CHANGE, Failure, NotYet, Outcome

# What an object is called that check mode has not made. Later tasks of the play can use it and see a change.
NOT_YET = '00000000-0000-0000-0000-000000000000'


class Kind:
    """What differs between the kinds of objects. A description is a dict by the names of module options."""

    noun = ''
    path = ''
    # Fields without which none can be made.
    required = ()
    # Fields that are never shown.
    secret = ()
    what_recreation_costs = ''

    def opinions(self, task):
        """Description of what the task asks for; what it does not mention is not in it."""
        raise NotImplementedError

    def current(self, view):
        """Description of an object as the API shows it."""
        raise NotImplementedError

    def same(self, field, view, current, asked):
        """Whether an object already is as asked for."""
        return current == asked

    def body(self, description):
        """The request that makes such an object."""
        raise NotImplementedError

    def renewed(self, description, asked):
        """Description of the new object that takes the place of one. `description` has what is asked for and, for the
        rest, what the old one was."""
        return description

    def passes(self, error, replaced):
        """Whether a refusal to make the new object is only because the old one is not forgotten yet."""
        return False

    def predicted(self, description):
        """What the API would show of such an object, as far as that is known before it is made."""
        raise NotImplementedError

    def remove(self, task, view, wait):
        """Deletes an object, and waits until it is gone."""
        raise NotImplementedError

    def waits(self, params):
        """Whether the task wants to go on only when the object is ready."""
        raise NotImplementedError

    def waits_for_removal(self, params):
        """Whether the task wants to go on only when the object is gone."""
        return True

    def meta(self, view):
        """What the module returns of an object."""
        return {key: HIDDEN if key in self.secret and value is not None else value for key, value in view.items()}


def option_spec(**more):
    """Argument specification of the options that networks and instances share."""
    return {
        'name': {'type': 'str'},
        'uuid': {'type': 'str'},
        'metadata': {'type': 'dict'},
        'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
        'on_change': {'type': 'str', 'choices': ['fail', 'recreate'], 'default': 'fail'},
        **more,
    }


def ensure(task, kind):
    """Sees to it that the object is as the task says, and answers the result."""
    return (present if task.params['state'] == 'present' else absent)(task, kind).result()


def present(task, kind):
    """Sees to it that the object exists and is as asked for."""
    asked = kind.opinions(task)
    view = _look(task, kind)
    if view and is_dying(view):
        if not task.check_mode:
            with task.doing(f'waiting until {title(kind, view)} is deleted'):
                kind.remove(task, view, wait=True)
        view = None
    if view is None:
        return _create(task, kind, asked)
    current = kind.current(view)
    after, differences = _compare(kind, view, current, asked)
    if differences:
        after = kind.renewed(after, asked)
    before, shown = _shown(kind, view, current, after, differences)
    if differences and task.params['on_change'] == 'fail':
        raise Failure(_explain(kind, view, differences, before, shown), kind.meta(view))
    if differences:
        return _replace(task, kind, view, after)._replace(before=before, after=shown)
    changed = after['metadata'] != current['metadata']
    if task.check_mode:
        return Outcome(changed, kind.meta({**view, 'metadata': after['metadata']}), before, shown)
    view = _finish(task, kind, view, after['metadata'])
    return Outcome(changed, kind.meta(view), before, shown)


def absent(task, kind):
    """Sees to it that the object does not exist."""
    view = _look(task, kind)
    if view is None:
        task.log.append(f'there is no such {kind.noun}')
        return Outcome(False, None, {}, {})
    if not task.check_mode:
        with task.doing(f'deleting {title(kind, view)}'):
            kind.remove(task, view, wait=kind.waits_for_removal(task.params))
    if is_dying(view):
        return Outcome(False, None, {}, {})
    before, after = _shown(kind, view, kind.current(view), {}, [])
    return Outcome(True, None, before, after)


def find(task, kind):
    """The object that the task names, or None. One that is being deleted is answered only if there is no other."""
    params = task.params
    if params['uuid']:
        view = task.api.find(f"{kind.path}/{quoted(params['uuid'])}", namespace=params['namespace'])
        if view and view['state'] != 'deleted':
            return view
        if not params['name']:
            if params['state'] == 'present':
                raise Failure(f"there is no {kind.noun} {params['uuid']}, and one with a UUID of your choice cannot be made: give a name")
            return None
    return by_name(task, kind, params['name'])


def by_name(task, kind, name):
    """The object of a name in the namespace of the task, or None."""
    if is_uuid(name):
        raise Failure(f'{name} is a UUID, which cannot be a name: use the option uuid')
    try:
        return task.api.find(f'{kind.path}/{quoted(name)}', namespace=task.namespace)
    except ApiError as error:
        if error.code != 'ambiguous_reference':
            raise
    views = [one for one in task.api.get(kind.path) if (one['name'], one['namespace']) == (name, task.namespace)]
    living = [one for one in views if not is_dying(one)]
    if len(living) > 1:
        uuids = ', '.join(sorted(one['uuid'] for one in living))
        raise Failure(f'{len(living)} {kind.noun}s have the name {name}, say by the option uuid which one you mean: {uuids}')
    return next(iter(living or views), None)


def is_dying(view):
    return view['state'].startswith('delete')


def is_uuid(text):
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def title(kind, view):
    return f"{kind.noun} {view['name']} ({view['uuid']})"


def last_error(task, kind, view):
    """What the events of an object say of its latest error, or an empty text."""
    for event in task.api.get(f"{kind.path}/{view['uuid']}/events"):
        extra = event['extra']
        if str(extra.get('state', '')).endswith('error') or extra.get('result') == 'error' or 'error' in extra:
            words = [event['message'], extra.get('message'), extra.get('error')]
            return ': '.join(str(word) for word in words if word)
    return ''


def _look(task, kind):
    with task.doing(f"looking for {kind.noun} {task.params['uuid'] or task.params['name']}"):
        return find(task, kind)


def _create(task, kind, asked):
    missing = [field for field in kind.required if asked.get(field) is None]
    if missing:
        raise Failure(f"there is no {kind.noun} {asked.get('name')}, and making one needs: {', '.join(missing)}")
    description = {**asked, 'metadata': sf_metadata.wanted({}, asked.get('metadata'))}
    before, shown = _shown(kind, None, {}, description, [])
    return Outcome(True, _make(task, kind, description, task.namespace), before, shown)


def _replace(task, kind, view, description):
    if not task.check_mode:
        with task.doing(f'deleting {title(kind, view)} to replace it'):
            kind.remove(task, view, wait=True)
    return Outcome(True, _make(task, kind, description, view['namespace'], replaced=view), None, None)


def _make(task, kind, description, namespace, replaced=None):
    """Makes an object and answers what the module returns of it."""
    name = description['name']
    if task.check_mode:
        return kind.meta({**kind.predicted(description), 'uuid': NOT_YET, 'state': 'initial', 'namespace': namespace})
    body = {**kind.body(description), 'namespace': namespace}
    # What has the name now was not there before, so a request whose answer was lost has made it. Not so where the task
    # names a UUID, because then others may have the same name.
    landed = None if task.params['uuid'] else functools.partial(by_name, task, kind, name)

    def attempt():
        try:
            return task.api.post(kind.path, body, landed)
        except ApiError as error:
            if replaced and kind.passes(error, replaced):
                raise NotYet(str(error)) from error
            raise

    with task.doing(f'creating {kind.noun} {name}'):
        view = task.until(attempt)
    return kind.meta(_finish(task, kind, view, description['metadata']))


def _finish(task, kind, view, metadata):
    """What is done to an object that exists: its metadata are set, and it is waited for. Answers it as it is then."""
    if view['metadata'] != metadata:
        with task.doing(f'setting the metadata of {title(kind, view)}'):
            sf_metadata.write(task.api, f"{kind.path}/{view['uuid']}", view['metadata'], metadata)
    if kind.waits(task.params):
        return _settled(task, kind, view)
    return task.api.get(f"{kind.path}/{view['uuid']}")


def _settled(task, kind, view):
    """Waits until an object is ready, and answers it."""
    def probe():
        now = task.api.get(f"{kind.path}/{view['uuid']}")
        if now['state'].endswith('error'):
            events = last_error(task, kind, now)
            raise Failure(f"it ended in {now['state']}: {now['error_message'] or events}. Last error event: {events or 'none'}", kind.meta(now))
        if is_dying(now):
            raise Failure('it was deleted meanwhile by somebody else', kind.meta(now))
        if now['state'] != 'created':
            raise NotYet(f"it is still {now['state']}", kind.meta(now))
        return now

    with task.doing(f'waiting for {title(kind, view)}'):
        return task.until(probe)


def _compare(kind, view, current, asked):
    """How the object should be, and the fields in which it is not. What was not asked for stays as it is."""
    after, differences = dict(current), []
    for field, value in asked.items():
        if field == 'metadata':
            after[field] = sf_metadata.wanted(current[field], value)
        elif not kind.same(field, view, current.get(field), value):
            after[field] = value
            differences.append(field)
    if view['state'].endswith('error'):
        differences.append('state')
    return after, differences


def _shown(kind, view, before, after, differences):
    """Two descriptions for the eyes of people."""
    def hide(description, word):
        return {
            field: (word if field in differences else HIDDEN) if field in kind.secret and value is not None else value
            for field, value in description.items()
        }

    before, after = hide(before, HIDDEN), hide(after, HIDDEN_CHANGE)
    if 'state' in differences:
        before['state'], after['state'] = view['state'], 'created'
    return before, after


def _explain(kind, view, differences, before, after):
    parts = []
    for field in differences:
        if field == 'state':
            parts.append(f"it is in {view['state']} ({view['error_message'] or 'which nobody explained'})")
        elif field in kind.secret:
            parts.append(f'{field} is another one')
        else:
            parts.append(f'{field} is {before.get(field)} and should be {after[field]}')
    return (
        f"{title(kind, view)} exists and is not as asked for: {'; '.join(parts)}. A {kind.noun} is not changed in place: "
        f'on_change: recreate deletes it{kind.what_recreation_costs} and makes a new one'
    )
