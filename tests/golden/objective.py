import time


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    for step in range(3):
        time.sleep(0.02)
        trial.report((x - 0.2) ** 2 + step * 0.01, step)
    return (x - 0.2) ** 2 + (kind == "a")
