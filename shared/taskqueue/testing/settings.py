"""The settings of a test."""

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from taskqueue.settings import Settings


class IsolatedSettings(Settings):
    """Settings that come from the test alone: what happens to be in the environment is not read."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
