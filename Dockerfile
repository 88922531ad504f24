# The order service without the embedded PostgreSQL and Kafka: docs/containers.md.
# A base with CPython 3.11 to 3.14 and glibc (Kafka's client has no build for musl). To pin it:
# --build-arg BASE=python:3.13-slim@sha256:…
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
# An index or a CA of your own comes from outside, in a pip.conf: --secret id=pip,src=pip.conf. Proxies are build arguments.
COPY requirements/build.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv tools \
    && tools/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/build.txt
COPY requirements/image.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv --without-pip /opt/orders \
    && tools/bin/pip --python /opt/orders/bin/python install --no-cache-dir --only-binary :all: --require-hashes \
        -r requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN tools/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && tools/bin/pip --python /opt/orders/bin/python install --no-cache-dir --no-index --no-deps dist/*.whl

FROM ${BASE}
# The number is fixed: volumes and Kubernetes' runAsNonRoot know it.
RUN groupadd --gid 10001 orders \
    && useradd --uid 10001 --gid orders --home-dir /var/lib/orders --create-home --shell /usr/sbin/nologin orders \
    && mkdir /etc/orders
COPY --from=build /opt/orders /opt/orders
ENV PATH=/opt/orders/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORDERS_HOME=/etc/orders \
    ORDERS_DATA_DIR=/var/lib/orders \
    ORDERS_HTTP_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/orders
EXPOSE 8080
STOPSIGNAL SIGTERM
# Whether the process answers at all: a restart mends nothing else.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["orders", "health", "--live"]
ENTRYPOINT ["orders"]
CMD ["run"]

ARG VERSION=0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="orders" \
      org.opencontainers.image.description="An order service: Kafka to PostgreSQL to shared memory to HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
