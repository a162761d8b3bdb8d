"""The actions of the tests of traces. They tell the id of the span that they run in."""

from opentelemetry import trace

from taskqueue import TaskContext, action


def here() -> str:
    return f"{trace.get_current_span().get_span_context().span_id:016x}"


@action
async def span_of_coroutine() -> str:
    return here()


@action
def span_of_thread() -> str:
    return here()


@action(executor="process")
def span_of_child(task: TaskContext) -> str:
    task.submit("span_of_coroutine")
    return here()


@action
async def span_of_parent(task: TaskContext) -> str:
    task.submit("span_of_coroutine")
    return here()


@action
async def begin_own() -> str:
    with trace.get_tracer("mine").start_as_current_span("own"):
        return here()
