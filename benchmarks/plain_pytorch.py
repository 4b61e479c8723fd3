"""The work of every case in plain PyTorch, as public code of the field does it.

The code is our own. It uses eager autograd through the kept graph of all student steps, and
trains one network at a time. A DataLoader without workers reads a tensor dataset. Affine matrices
of augmentations are built image by image on the host, and two numbers are fetched from the device
in every training step.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.shapes import BATCH, FAMILIES, STUDENT_LR, Shape


def plain_convnet(shape: Shape) -> nn.Sequential:
    """Return blocks of convolution, instance norm, ReLU and average pooling.

    Instance norm is group norm with one group per channel.
    """
    layers: list[nn.Module] = []
    channels = shape.channels
    for _ in range(shape.depth):
        layers += [nn.Conv2d(channels, shape.width, 3, padding=1)]
        layers += [nn.GroupNorm(shape.width, shape.width), nn.ReLU(), nn.AvgPool2d(2)]
        channels = shape.width
    side = shape.side // 2**shape.depth
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side**2, shape.classes))


def flat(net: nn.Module) -> Tensor:
    """Return the parameters of a network as one vector."""
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def logits(net: nn.Module, theta: Tensor, images: Tensor) -> Tensor:
    """Return the logits of images under the parameters in a flat vector."""
    named, first = {}, 0
    for name, parameter in net.named_parameters():
        named[name] = theta[first : first + parameter.numel()].view(parameter.shape)
        first += parameter.numel()
    return functional_call(net, named, (images,))


def augment_batch(images: Tensor) -> Tensor:
    """Augment a batch by one random family, with separate parameters for each image."""
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


class PlainDistillation:
    """The outer loop with back-propagation through the graph of all student steps."""

    def __init__(self, shape: Shape, ipc: int, steps: int, device: torch.device) -> None:
        count = ipc * shape.classes
        self.steps = steps
        self.net = plain_convnet(shape).to(device)
        self.start = flat(self.net)
        self.target = self.start + 0.01 * torch.sin(
            torch.arange(len(self.start), device=device, dtype=torch.float32)
        )
        self.images = shape.images(count).to(device).requires_grad_()
        self.labels = shape.labels(count).to(device)
        self.rate = torch.tensor(STUDENT_LR, device=device, requires_grad=True)
        self.by_images = torch.optim.SGD([self.images], lr=1.0, momentum=0.5)
        self.by_rate = torch.optim.SGD([self.rate], lr=1e-9, momentum=0.5)

    def iteration(self) -> None:
        """Update the images and the student's learning rate once."""
        path = [self.start.clone().requires_grad_()]
        for _ in range(self.steps):
            output = logits(self.net, path[-1], augment_batch(self.images))
            loss = F.cross_entropy(output, self.labels)
            (gradient,) = torch.autograd.grad(loss, path[-1], create_graph=True)
            path.append(path[-1] - self.rate * gradient)
        distance = F.mse_loss(path[-1], self.target, reduction="sum")
        loss = distance / F.mse_loss(self.start, self.target, reduction="sum")
        self.by_images.zero_grad()
        self.by_rate.zero_grad()
        loss.backward()
        self.by_images.step()
        self.by_rate.step()
        loss.item()


def train_plain_network(
    net: nn.Module, images: Tensor, labels: Tensor, epochs: int, batch: int, momentum: float
) -> None:
    """Train a network; fetch the loss and the number of correct images in every step."""
    loader = DataLoader(TensorDataset(images, labels), batch_size=batch, shuffle=True)
    optimiser = torch.optim.SGD(net.parameters(), lr=STUDENT_LR, momentum=momentum)
    total, hits = 0.0, 0.0
    for _ in range(epochs):
        for chosen, classes in loader:
            output = net(augment_batch(chosen))
            loss = F.cross_entropy(output, classes)
            total += loss.item() * len(classes)
            hits += (output.argmax(1) == classes).sum().item()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


@torch.no_grad()
def measure_share_correct(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images that are classified correctly."""
    hits = 0.0
    for chosen, classes in DataLoader(TensorDataset(images, labels), batch_size=BATCH):
        hits += (net(chosen).argmax(1) == classes).sum().item()
    return hits / len(images)


def train_plain_experts(
    shape: Shape, images: Tensor, labels: Tensor, experts: int, epochs: int
) -> list[Tensor]:
    """Train experts one after another, without the usual test after each epoch."""
    ends = []
    for _ in range(experts):
        net = plain_convnet(shape).to(images.device)
        for _ in range(epochs):
            train_plain_network(net, images, labels, 1, BATCH, 0.0)
        ends.append(flat(net))
    return ends


def evaluate_plain_networks(
    shape: Shape,
    training: tuple[Tensor, Tensor],
    tested: tuple[Tensor, Tensor],
    nets: int,
    epochs: int,
) -> list[float]:
    """Train fresh networks one after another, and test each at its end."""
    accuracies = []
    for _ in range(nets):
        net = plain_convnet(shape).to(training[0].device)
        train_plain_network(net, *training, epochs, BATCH, 0.9)
        accuracies.append(measure_share_correct(net, *tested))
    return accuracies
