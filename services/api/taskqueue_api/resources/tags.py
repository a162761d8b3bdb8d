"""`GET /tags`: what tasks can be found by."""

from aiohttp import web

from taskqueue.contract.tags import TagsAnswer, TagsQuery
from taskqueue_api.http.bodies import read_query
from taskqueue_api.keys import STORE


async def tags(request: web.Request) -> web.Response:
    """`GET /tags`: the first tags that begin so. Each costs a look into the index, however many have it."""
    query = read_query(TagsQuery, request.query)
    found = await request.app[STORE].reads.tags(query.prefix, limit=query.limit)
    return web.json_response(text=TagsAnswer(tags=found).to_json())
