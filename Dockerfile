# One image, one command: taskqueue api, taskqueue worker, taskqueue migrate (or, for one release, taskqueue-api, ...).
# No "syntax" line and no heredocs: it builds with the classic builder too, and without an image registry
# (see deploy/base-images).
ARG PYTHON_IMAGE=python:3.14-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# The tools stay in this stage: /opt/tools has pip and the build backend, /opt/venv only what runs.
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/venv
COPY requirements/build.txt requirements/image.txt requirements/
RUN /opt/tools/bin/pip install --require-hashes -r requirements/build.txt \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install --require-hashes --only-binary :all: -r requirements/image.txt
# From here on a change of sources (services/worker/handlers is where your own actions go) costs seconds.
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY services services
RUN /opt/tools/bin/hatchling build -t wheel -d /dist \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install --no-deps /dist/*.whl \
    && cp -r services/worker/handlers "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

FROM ${PYTHON_IMAGE}
# A fixed uid, so that backups and bind mounts can be given to it. A new named volume takes over the owner of /data.
RUN groupadd --gid 10001 taskqueue \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin taskqueue \
    && install -d -o taskqueue -g taskqueue /data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TASKQUEUE_DATA_DIR=/data \
    TASKQUEUE_LOG_FORMAT=json
WORKDIR /data
USER 10001:10001
EXPOSE 8080
CMD ["taskqueue-api"]
# For the image of a project of one's own that begins with this one: docs/tutorial.md.
COPY deploy/taskqueue-install /usr/local/bin/
COPY --from=build /opt/venv /opt/venv
