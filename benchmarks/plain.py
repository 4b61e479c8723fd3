"""How the field does it, in our own words: what the measurements are held against.

Eager autograd through the kept graph of all student steps; one network at a time; a DataLoader
without workers over a tensor dataset; augmentation whose affine matrices are built image by image
on the host; two numbers fetched from the device in every training step.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.shapes import BATCH, FAMILIES, RATE, Shape


def convnet(shape: Shape) -> nn.Sequential:
    """Blocks of convolution, group norm with a group per channel, ReLU, average pooling."""
    layers: list[nn.Module] = []
    channels = shape.channels
    for _ in range(shape.depth):
        layers += [nn.Conv2d(channels, shape.width, 3, padding=1)]
        layers += [nn.GroupNorm(shape.width, shape.width), nn.ReLU(), nn.AvgPool2d(2)]
        channels = shape.width
    side = shape.side // 2**shape.depth
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side**2, shape.classes))


def flat(net: nn.Module) -> Tensor:
    """Its parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def logits(net: nn.Module, theta: Tensor, images: Tensor) -> Tensor:
    """Of images under the parameters of a flat vector."""
    named, first = {}, 0
    for name, parameter in net.named_parameters():
        named[name] = theta[first : first + parameter.numel()].view(parameter.shape)
        first += parameter.numel()
    return functional_call(net, named, (images,))


def augment(images: Tensor) -> Tensor:
    """One family for the batch, drawn anew; every image its own parameters."""
    family = FAMILIES[int(torch.randint(len(FAMILIES), (1,)))]
    count, _, height, width = images.shape
    device = images.device
    match family:
        case "color":
            draw = torch.rand(3, count, 1, 1, 1, device=device)
            images = images + (draw[0] - 0.5)
            mean = images.mean(1, keepdim=True)
            images = (images - mean) * (2 * draw[1]) + mean
            mean = images.mean((1, 2, 3), keepdim=True)
            return (images - mean) * (draw[2] + 0.5) + mean
        case "crop":
            most = int(height * 0.125 + 0.5)
            rows, columns = torch.randint(-most, most + 1, (2, count, 1, 1), device=device)
            which, i, j = torch.meshgrid(
                torch.arange(count, device=device),
                torch.arange(height, device=device),
                torch.arange(width, device=device),
                indexing="ij",
            )
            i, j = (i + rows + 1).clamp(0, height + 1), (j + columns + 1).clamp(0, width + 1)
            padded = F.pad(images, (1, 1, 1, 1))
            return padded.permute(0, 2, 3, 1)[which, i, j].permute(0, 3, 1, 2)
        case "cutout":
            size = int(height * 0.5 + 0.5)
            centre = torch.randint(0, height + 1, (2, count, 1, 1), device=device)
            mask = torch.ones(count, height, width, device=device)
            which, i, j = torch.meshgrid(
                torch.arange(count, device=device),
                torch.arange(size, device=device),
                torch.arange(size, device=device),
                indexing="ij",
            )
            i = (i + centre[0] - size // 2).clamp(0, height - 1)
            j = (j + centre[1] - size // 2).clamp(0, width - 1)
            mask[which, i, j] = 0
            return images * mask.unsqueeze(1)
        case "flip":
            turned = torch.rand(count, 1, 1, 1, device=device) < 0.5
            return torch.where(turned, images.flip(3), images)
        case "scale":
            drawn = torch.rand(2, count) * (1.2 - 1 / 1.2) + 1 / 1.2
            rows = [[[sx, 0.0, 0.0], [0.0, sy, 0.0]] for sx, sy in drawn.T.tolist()]
        case _:
            angles = (torch.rand(count) - 0.5) * 2 * 15 / 180 * 3.14159265
            rows = [
                [
                    [torch.cos(angles[k]), torch.sin(-angles[k]), 0.0],
                    [torch.sin(angles[k]), torch.cos(angles[k]), 0.0],
                ]
                for k in range(count)
            ]
    matrices = torch.stack([torch.tensor(matrix) for matrix in rows]).to(device)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)


class Distillation:
    """The outer loop: every iteration goes back through the graph of all student steps."""

    def __init__(self, shape: Shape, ipc: int, steps: int, device: torch.device) -> None:
        count = ipc * shape.classes
        self.steps = steps
        self.net = convnet(shape).to(device)
        self.start = flat(self.net)
        self.target = self.start + 0.01 * torch.sin(
            torch.arange(len(self.start), device=device, dtype=torch.float32)
        )
        self.images = shape.images(count).to(device).requires_grad_()
        self.labels = shape.labels(count).to(device)
        self.rate = torch.tensor(RATE, device=device, requires_grad=True)
        self.by_images = torch.optim.SGD([self.images], lr=1.0, momentum=0.5)
        self.by_rate = torch.optim.SGD([self.rate], lr=1e-9, momentum=0.5)

    def iteration(self) -> None:
        """One update of the images and of the student's rate."""
        path = [self.start.clone().requires_grad_()]
        for _ in range(self.steps):
            output = logits(self.net, path[-1], augment(self.images))
            loss = F.cross_entropy(output, self.labels)
            (gradient,) = torch.autograd.grad(loss, path[-1], create_graph=True)
            path.append(path[-1] - self.rate * gradient)
        apart = F.mse_loss(path[-1], self.target, reduction="sum")
        loss = apart / F.mse_loss(self.start, self.target, reduction="sum")
        self.by_images.zero_grad()
        self.by_rate.zero_grad()
        loss.backward()
        self.by_images.step()
        self.by_rate.step()
        loss.item()


def train_epochs(
    net: nn.Module, images: Tensor, labels: Tensor, epochs: int, batch: int, momentum: float
) -> None:
    """Plain training; loss and hits are fetched after every step."""
    loader = DataLoader(TensorDataset(images, labels), batch_size=batch, shuffle=True)
    optimiser = torch.optim.SGD(net.parameters(), lr=RATE, momentum=momentum)
    total, hits = 0.0, 0.0
    for _ in range(epochs):
        for chosen, classes in loader:
            output = net(augment(chosen))
            loss = F.cross_entropy(output, classes)
            total += loss.item() * len(classes)
            hits += (output.argmax(1) == classes).sum().item()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


@torch.no_grad()
def test(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images classified correctly."""
    hits = 0.0
    for chosen, classes in DataLoader(TensorDataset(images, labels), batch_size=BATCH):
        hits += (net(chosen).argmax(1) == classes).sum().item()
    return hits / len(images)


def train_experts(
    shape: Shape, images: Tensor, labels: Tensor, experts: int, epochs: int
) -> list[Tensor]:
    """Experts one after another; the test pass after each epoch is timed apart and not here."""
    ends = []
    for _ in range(experts):
        net = convnet(shape).to(images.device)
        for _ in range(epochs):
            train_epochs(net, images, labels, 1, BATCH, 0.0)
        ends.append(flat(net))
    return ends


def evaluate(
    shape: Shape,
    training: tuple[Tensor, Tensor],
    tested: tuple[Tensor, Tensor],
    nets: int,
    epochs: int,
) -> list[float]:
    """Fresh networks one after another, each tested at its end."""
    accuracies = []
    for _ in range(nets):
        net = convnet(shape).to(training[0].device)
        train_epochs(net, *training, epochs, BATCH, 0.9)
        accuracies.append(test(net, *tested))
    return accuracies
