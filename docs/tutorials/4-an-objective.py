# %% [markdown]
# # An Optuna objective, brought along
#
# An `objective(trial)` runs unchanged, on as many processes as there are cores. Then the same network
# as `build(trial)`: Cotune trains many of them together, tests the winner, and keeps the model.

# %%
import cotune


# %%
def objective(trial):
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X, X_valid, y, y_valid = train_test_split(
        torch.tensor(X / 16).float(), torch.tensor(y), random_state=0
    )
    width = trial.suggest_int("width", 16, 128, log=True)
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr)
    for epoch in range(10):
        for rows in torch.randperm(len(X)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
            optimizer.step()
        accuracy = (net(X_valid).argmax(1) == y_valid).float().mean().item()
        trial.report(accuracy, epoch)
    return accuracy


tuned = cotune.optimize(objective, direction="maximize", n_trials=12, out="runs/objective")
tuned.best_params, tuned.best_value

# %% [markdown]
# The value is one that the search chose by, so it flatters. There is no test score, and no model.
# The network alone, as a function of the trial, has both:


# %%
def build(trial, n_inputs, n_classes):
    from torch import nn

    width = trial.suggest_int("width", 16, 128, log=True)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(n_inputs, width), nn.ReLU(), nn.Linear(width, n_classes)
    )


result = cotune.run("digits", model=build, timeout="20s", out="runs/build")
result

# %%
len(result.trials), result.test_accuracy
