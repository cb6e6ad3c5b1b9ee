"""`energy-ledger mechanisms`: the ways to trade, for whoever has to choose one."""

from rich.console import Console

from settlement.mechanisms.explained import EXPLAINED, GROUND

screen = Console(highlight=False, markup=False, soft_wrap=True)


def mechanisms() -> None:
    """Explain the mechanisms by which a community can trade: the price, who pays it, and what can be set."""
    screen.print(GROUND)
    for name, explained in EXPLAINED.items():
        screen.print(f"\n{name}\n  price  {explained.price}\n  pays   {explained.pays}")
        for setting in explained.settings:
            names = setting.name if setting.name == setting.market else f"{setting.name} ({setting.market})"
            screen.print(f"  set    {names}: {setting.values}")
    screen.print(
        "\nset: under [parameters] in the rules of a what-if; under [market] in the settings, by the name in"
        " brackets if there is one"
    )
