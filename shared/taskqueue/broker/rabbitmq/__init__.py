"""The broker for `amqp://`: RabbitMQ 4.0 or later, with quorum queues."""

from .broker import RabbitBroker

__all__ = ["RabbitBroker"]
